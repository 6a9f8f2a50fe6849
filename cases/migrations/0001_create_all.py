"""Tables that existed before Alembic (SQLAlchemy create_all at commit 4466fff). Not a documented revision."""
import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

from datamortem.revisions.operations import CreateModelIfMissing


class Migration(migrations.Migration):
    initial = True
    baseline = True
    dependencies = []
    operations = [
        CreateModelIfMissing(
            name="AnalysisModule",
            fields=[
                ("id", models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField()),
                ("description", models.TextField(blank=True, null=True)),
                ("tool", models.CharField(blank=True, null=True)),
                ("enabled", models.BooleanField(default=True)),
            ],
            options={"db_table": "analysis_modules"},
        ),
        CreateModelIfMissing(
            name="Case",
            fields=[
                ("id", models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("case_id", models.CharField(unique=True)),
                ("status", models.CharField(default="open")),
                ("created_at_utc", models.DateTimeField(default=django.utils.timezone.now)),
                ("note", models.TextField(blank=True, null=True)),
            ],
            options={"db_table": "cases"},
        ),
        CreateModelIfMissing(
            name="Evidence",
            fields=[
                ("id", models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("evidence_uid", models.CharField(unique=True)),
                ("local_path", models.CharField(blank=True, null=True)),
                ("added_at_utc", models.DateTimeField(default=django.utils.timezone.now)),
                ("case", models.ForeignKey(db_column="case_id", on_delete=django.db.models.deletion.CASCADE, related_name="evidences", to="cases.case", to_field="case_id")),
            ],
            options={"db_table": "evidence"},
        ),
        CreateModelIfMissing(
            name="Event",
            fields=[
                ("id", models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("ts", models.CharField()),
                ("source", models.CharField()),
                ("message", models.TextField()),
                ("host", models.CharField(blank=True, null=True)),
                ("user", models.CharField(blank=True, null=True)),
                ("tags", models.TextField(blank=True, null=True)),
                ("score", models.IntegerField(blank=True, null=True)),
                ("evidence_uid", models.CharField(blank=True, db_index=True, null=True)),
                ("raw", models.TextField(blank=True, null=True)),
                ("created_at_utc", models.DateTimeField(default=django.utils.timezone.now)),
                ("case", models.ForeignKey(db_column="case_id", on_delete=django.db.models.deletion.CASCADE, related_name="events", to="cases.case", to_field="case_id")),
            ],
            options={"db_table": "events"},
        ),
        CreateModelIfMissing(
            name="TaskRun",
            fields=[
                ("id", models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("task_name", models.CharField()),
                ("status", models.CharField(default="queued")),
                ("progress_message", models.CharField(blank=True, null=True)),
                ("started_at_utc", models.DateTimeField(blank=True, null=True)),
                ("ended_at_utc", models.DateTimeField(blank=True, null=True)),
                ("output_path", models.CharField(blank=True, null=True)),
                ("error_message", models.TextField(blank=True, null=True)),
                ("celery_task_id", models.CharField(blank=True, db_index=True, null=True)),
                ("created_at_utc", models.DateTimeField(default=django.utils.timezone.now)),
                ("evidence", models.ForeignKey(db_column="evidence_uid", on_delete=django.db.models.deletion.CASCADE, related_name="task_runs", to="cases.evidence", to_field="evidence_uid")),
                ("module", models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="runs", to="cases.analysismodule")),
            ],
            options={"db_table": "task_run"},
        ),
    ]
