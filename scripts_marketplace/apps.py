"""The app of the script marketplace."""

from django.apps import AppConfig


class ScriptsMarketplaceConfig(AppConfig):
    """Scripts that analysts share."""

    name = "scripts_marketplace"
