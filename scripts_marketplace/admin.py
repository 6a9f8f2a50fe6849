"""Scripts in the admin, to be read."""

from __future__ import annotations

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from cases.admin.base import ReadOnlyAdmin
from cases.visible import visible
from scripts_marketplace.models import CustomScript


@admin.register(CustomScript)
class CustomScriptAdmin(ReadOnlyAdmin):
    """What analysts share. Approving is not done here."""

    list_display = ("title", "language", "created_by", "is_approved", "created_at_utc")
    list_filter = ("is_approved", "language")
    list_select_related = ("created_by",)
    search_fields = ("name",)
    ordering = ("-pk",)
    fields = (
        "title", "about", "language", "python_version", "needs", "source",
        "created_by", "created_at_utc", "is_approved", "published_at",
    )  # fmt: skip

    @display(description="Name", ordering="name")
    def title(self, script: CustomScript) -> SafeString:
        """Return the name, nothing hidden."""
        return visible(script.name)

    @display(description="Description")
    def about(self, script: CustomScript) -> SafeString:
        """Return the description, nothing hidden."""
        return visible(script.description or "–")

    @display(description="Requirements")
    def needs(self, script: CustomScript) -> SafeString:
        """Return what it asks to be installed."""
        return format_html('<pre class="dm-json">{}</pre>', visible(script.requirements or "–"))

    @display(description="Source")
    def source(self, script: CustomScript) -> SafeString:
        """Return its source, nothing hidden: what is reviewed is what would run."""
        return format_html('<pre class="dm-json">{}</pre>', visible(script.source_code))
