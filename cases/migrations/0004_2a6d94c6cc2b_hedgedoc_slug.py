"""2a6d94c6cc2b: Add HedgeDoc slug to cases (branch 2)"""
from django.db import migrations, models

from datamortem.revisions.operations import AddFieldIfMissing


class Migration(migrations.Migration):
    revision = "2a6d94c6cc2b"
    title = "Add HedgeDoc slug to cases"
    dependencies = [
        ("cases", "0003_task_run_script"),
        ("scripts_marketplace", "0002_8f6e0f2be8d2_script_runtime_fields"),     # down_revision 8f6e0f2be8d2
    ]
    operations = [
        AddFieldIfMissing("case", "hedgedoc_slug", models.CharField(blank=True, null=True, unique=True)),
    ]
