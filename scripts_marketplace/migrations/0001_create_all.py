"""custom_scripts and user_scripts: never created by Alembic, only by create_all (commit bea8121)."""
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

from datamortem.revisions.operations import CreateModelIfMissing


class Migration(migrations.Migration):
    initial = True
    baseline = True
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("cases", "0002_c6e23e92af16_owner"),
    ]
    operations = [
        CreateModelIfMissing(
            name="CustomScript",
            fields=[
                ("id", models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(unique=True)),
                ("description", models.TextField(blank=True, null=True)),
                ("language", models.CharField(default="python")),
                ("source_code", models.TextField()),
                ("created_at_utc", models.DateTimeField(default=django.utils.timezone.now)),
                ("is_approved", models.BooleanField(db_index=True, default=False)),
                ("published_at", models.DateTimeField(blank=True, null=True)),
                ("created_by", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="custom_scripts", to=settings.AUTH_USER_MODEL)),
            ],
            options={"db_table": "custom_scripts"},
        ),
        CreateModelIfMissing(
            name="UserScript",
            fields=[
                ("id", models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("installed_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("script", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="assignments", to="scripts_marketplace.customscript")),
                ("user", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to=settings.AUTH_USER_MODEL)),
            ],
            options={"db_table": "user_scripts"},
        ),
    ]
