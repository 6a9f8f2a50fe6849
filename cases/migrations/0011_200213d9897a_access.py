"""200213d9897a: Add sign-ins, second factors, tokens, teams, invitations and audit"""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    revision = "200213d9897a"
    title = "Add sign-ins, second factors, tokens, teams, invitations and audit"

    dependencies = [
        ('accounts', '0004_9039069f8111_idempotent_answers'),
        ('accounts', '0005_200213d9897a_access'),
        ('cases', '0010_a2478eba463f_posted_events'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name='case',
            name='restricted',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name='taskrun',
            name='requested_by',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.CreateModel(
            name='CaseInvitation',
            fields=[
                ('id', models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('role', models.CharField(choices=[('lead', 'Lead'), ('analyst', 'Analyst'), ('reader', 'Reader')], default='reader', max_length=16)),
                ('case_ref', models.ForeignKey(db_column='case_pk', on_delete=django.db.models.deletion.CASCADE, related_name='invitations', to='cases.case')),
                ('invitation', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='case_invitation', to='accounts.invitation')),
            ],
            options={
                'db_table': 'case_invitations',
                'ordering': ['-pk'],
            },
        ),
        migrations.CreateModel(
            name='CaseTeam',
            fields=[
                ('id', models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('role', models.CharField(choices=[('lead', 'Lead'), ('analyst', 'Analyst'), ('reader', 'Reader')], default='reader', max_length=16)),
                ('added_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('added_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('case_ref', models.ForeignKey(db_column='case_pk', on_delete=django.db.models.deletion.CASCADE, related_name='teams', to='cases.case')),
                ('team', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='cases', to='accounts.team')),
            ],
            options={
                'db_table': 'case_teams',
                'ordering': ['pk'],
                'constraints': [models.UniqueConstraint(fields=('case_ref', 'team'), name='one_role_of_a_team_in_a_case'), models.CheckConstraint(condition=models.Q(('role__in', ['analyst', 'reader'])), name='a_lead_is_a_person')],
            },
        ),
    ]
