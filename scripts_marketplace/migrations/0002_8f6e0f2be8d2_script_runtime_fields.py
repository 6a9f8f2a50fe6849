"""8f6e0f2be8d2: Add python_version and requirements to custom_scripts (branch point)"""
from django.db import migrations, models

from datamortem.revisions.operations import AddFieldIfMissing


class Migration(migrations.Migration):
    revision = "8f6e0f2be8d2"
    title = "Add python_version and requirements to custom_scripts"
    dependencies = [
        ("scripts_marketplace", "0001_create_all"),
        ("cases", "0002_c6e23e92af16_owner"),       # down_revision c6e23e92af16
    ]
    operations = [
        AddFieldIfMissing("customscript", "python_version", models.CharField(default="3.11")),
        AddFieldIfMissing("customscript", "requirements", models.TextField(blank=True, null=True)),
    ]
