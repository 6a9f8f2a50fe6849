"""The project as an app: checks, commands, templates."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin

from datamortem import checks  # noqa: F401  (registers the start-up checks)


class DatamortemConfig(AppConfig):
    """What joins the apps."""

    name = "datamortem"
    default = True


class AdministrationConfig(admin.AdminConfig):
    """Django's admin with our site."""

    default = False
    default_site = "datamortem.administration.Site"
