"""The app of cases."""

from django.apps import AppConfig


class CasesConfig(AppConfig):
    """Evidence, runs and the timeline."""

    name = "cases"
