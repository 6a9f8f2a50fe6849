"""54e37367883f: Add case members, title, severity, tags and closing"""

import django.db.models.deletion
import django.db.models.expressions
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    revision = "54e37367883f"
    title = "Add case members, title, severity, tags and closing"
    dependencies = [
        ("cases", "0006_0d8c359bb4f1_sync"),
        ("accounts", "0003_b612d12d1c70_token_epoch"),
    ]
    operations = [
        migrations.CreateModel(
            name='CaseMember',
            fields=[
                ('id', models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('role', models.CharField(choices=[('lead', 'Lead'), ('analyst', 'Analyst'), ('reader', 'Reader')], default='reader', max_length=16)),
                ('added_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                'db_table': 'case_memberships',
                'ordering': ['pk'],
            },
        ),
        migrations.AlterModelOptions(
            name='case',
            options={'ordering': ['-pk']},
        ),
        migrations.AddField(
            model_name='case',
            name='closed_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='case',
            name='closed_by',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='case',
            name='severity',
            field=models.CharField(blank=True, choices=[('low', 'Low'), ('medium', 'Medium'), ('high', 'High'), ('critical', 'Critical')], db_default='', default='', max_length=16),
        ),
        migrations.AddField(
            model_name='case',
            name='tags',
            field=models.JSONField(blank=True, db_default=models.Value([], models.JSONField()), default=list),
        ),
        migrations.AddField(
            model_name='case',
            name='title',
            field=models.CharField(blank=True, db_default='', default='', max_length=300),
        ),
        migrations.AddField(
            model_name='casemember',
            name='added_by',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='casemember',
            name='case_ref',
            field=models.ForeignKey(db_column='case_pk', on_delete=django.db.models.deletion.CASCADE, related_name='members', to='cases.case'),
        ),
        migrations.AddField(
            model_name='casemember',
            name='user',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='case_memberships', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddConstraint(
            model_name='casemember',
            constraint=models.UniqueConstraint(fields=('case_ref', 'user'), name='one_role_in_a_case'),
        ),
        migrations.AddConstraint(
            model_name='casemember',
            constraint=models.CheckConstraint(condition=models.Q(('role__in', ['lead', 'analyst', 'reader'])), name='case_role_is_known'),
        ),
    ]
