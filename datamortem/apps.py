"""The project as an app: checks, commands, templates."""

from django.apps import AppConfig

from datamortem import checks  # noqa: F401  (registers the start-up checks)


class DatamortemConfig(AppConfig):
    """What joins the apps."""

    name = "datamortem"
