"""b5ee57fd35ba: Index posted events that wait"""

from django.db import migrations, models

from datamortem.revisions.online import AddIndexOnline


class Migration(migrations.Migration):
    atomic = False
    revision = "b5ee57fd35ba"
    title = "Index posted events that wait"

    dependencies = [
        ('cases', '0012_ef03a3ed9815_annotations'),
    ]

    operations = [
        AddIndexOnline(
            model_name='event',
            index=models.Index(condition=models.Q(('event_id__isnull', False), ('indexed_at', None)), fields=['case', 'id'], name='events_that_wait_for_the_index'),
        ),
    ]
