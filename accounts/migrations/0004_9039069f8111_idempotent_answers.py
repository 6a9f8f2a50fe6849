"""9039069f8111: Add answers kept under idempotency keys"""

import django.db.models.deletion
import django.db.models.expressions
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    revision = "9039069f8111"
    title = "Add answers kept under idempotency keys"
    dependencies = [
        ("accounts", "0003_b612d12d1c70_token_epoch"),
        ("cases", "0010_a2478eba463f_posted_events"),
    ]
    operations = [
        migrations.CreateModel(
            name='IdempotentAnswer',
            fields=[
                ('id', models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(max_length=255)),
                ('fingerprint', models.CharField(max_length=64)),
                ('status', models.IntegerField(blank=True, null=True)),
                ('body', models.JSONField(blank=True, null=True)),
                ('created_at', models.DateTimeField(db_index=True, default=django.utils.timezone.now)),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'db_table': 'idempotent_answers',
                'constraints': [models.UniqueConstraint(fields=('user', 'key'), name='a_key_once_for_a_user')],
            },
        ),
    ]
