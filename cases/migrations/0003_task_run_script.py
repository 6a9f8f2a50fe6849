"""task_run.script_id: in the models since bea8121, in no Alembic revision. Not a documented revision."""
import django.db.models.deletion
from django.db import migrations, models

from datamortem.revisions.operations import AddFieldIfMissing


class Migration(migrations.Migration):
    baseline = True
    dependencies = [
        ("cases", "0002_c6e23e92af16_owner"),
        ("scripts_marketplace", "0001_create_all"),
    ]
    operations = [
        AddFieldIfMissing("taskrun", "script", models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="runs", to="scripts_marketplace.customscript")),
    ]
