"""c6e23e92af16 (2/2): Add users table and user foreign key to cases"""
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from datamortem.revisions.operations import AddFieldIfMissing


class Migration(migrations.Migration):
    revision = "c6e23e92af16"
    title = "Add users table and user foreign key to cases"
    dependencies = [
        ("cases", "0001_create_all"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]
    operations = [
        AddFieldIfMissing("case", "owner", models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="cases", to=settings.AUTH_USER_MODEL)),
    ]
