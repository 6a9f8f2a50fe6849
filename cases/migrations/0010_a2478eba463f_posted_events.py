"""a2478eba463f: Add id and indexing state to posted events"""

import django.db.models.deletion
import django.db.models.expressions
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    revision = "a2478eba463f"
    title = "Add id and indexing state to posted events"
    dependencies = [
        ("cases", "0009_c5fabcebed21_runs"),
    ]
    operations = [
        migrations.AlterModelOptions(
            name='event',
            options={'ordering': ['pk']},
        ),
        migrations.AddField(
            model_name='event',
            name='event_id',
            field=models.CharField(blank=True, max_length=64, null=True),
        ),
        migrations.AddField(
            model_name='event',
            name='indexed_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='event',
            name='run',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='posted_events', to='cases.taskrun'),
        ),
        migrations.AddConstraint(
            model_name='event',
            constraint=models.UniqueConstraint(fields=('case', 'event_id'), name='an_event_once_in_a_case'),
        ),
    ]
