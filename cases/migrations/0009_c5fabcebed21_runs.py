"""c5fabcebed21: Add lease, fence, progress and ledger to runs"""

import django.db.models.deletion
import django.db.models.expressions
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    revision = "c5fabcebed21"
    title = "Add lease, fence, progress and ledger to runs"
    dependencies = [
        ("cases", "0008_a0243d1d7a1b_intake_and_custody"),
    ]
    operations = [
        migrations.CreateModel(
            name='RejectedRecord',
            fields=[
                ('id', models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('position', models.CharField(max_length=255)),
                ('reason', models.TextField()),
                ('raw', models.BinaryField(default=b'')),
            ],
            options={
                'db_table': 'rejected_records',
                'ordering': ['pk'],
            },
        ),
        migrations.AlterModelOptions(
            name='analysismodule',
            options={'ordering': ['name']},
        ),
        migrations.AlterModelOptions(
            name='taskrun',
            options={'ordering': ['-pk'], 'verbose_name': 'run'},
        ),
        migrations.AddField(
            model_name='analysismodule',
            name='version',
            field=models.CharField(blank=True, db_default='', default='', max_length=32),
        ),
        migrations.AddField(
            model_name='taskrun',
            name='attempt',
            field=models.IntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='taskrun',
            name='cancel_requested',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name='taskrun',
            name='duplicate',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='taskrun',
            name='fence',
            field=models.IntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='taskrun',
            name='idempotency_key',
            field=models.CharField(blank=True, max_length=255, null=True, unique=True),
        ),
        migrations.AddField(
            model_name='taskrun',
            name='indexed',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='taskrun',
            name='lease_until',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='taskrun',
            name='options',
            field=models.JSONField(blank=True, db_default=models.Value({}, models.JSONField()), default=dict),
        ),
        migrations.AddField(
            model_name='taskrun',
            name='parser',
            field=models.CharField(blank=True, db_default='', default='', max_length=64),
        ),
        migrations.AddField(
            model_name='taskrun',
            name='parser_version',
            field=models.CharField(blank=True, db_default='', default='', max_length=32),
        ),
        migrations.AddField(
            model_name='taskrun',
            name='progress',
            field=models.FloatField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='taskrun',
            name='records_read',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='taskrun',
            name='rejected',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='taskrun',
            name='undated',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='taskrun',
            name='worker',
            field=models.CharField(blank=True, db_default='', default='', max_length=255),
        ),
        migrations.AddIndex(
            model_name='taskrun',
            index=models.Index(fields=['status', 'lease_until'], name='task_run_claimable'),
        ),
        migrations.AddConstraint(
            model_name='taskrun',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('status', 'succeeded'), _negated=True), ('records_read', django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(models.F('indexed'), '+', models.F('duplicate')), '+', models.F('rejected'))), _connector='OR'), name='finished_runs_balance'),
        ),
        migrations.AddField(
            model_name='rejectedrecord',
            name='run',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='rejected_records', to='cases.taskrun'),
        ),
    ]
