"""ef03a3ed9815: Add annotations, saved searches and erasures from the index"""

import cases.models.index
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    revision = "ef03a3ed9815"
    title = "Add annotations, saved searches and erasures from the index"

    dependencies = [
        ('cases', '0011_200213d9897a_access'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Erasure',
            fields=[
                ('id', models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('case_id', models.CharField(max_length=255)),
                ('evidence_uid', models.CharField(blank=True, default='', max_length=255)),
                ('requested_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('tried_at', models.DateTimeField(blank=True, null=True)),
                ('erased_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'db_table': 'index_erasures',
                'ordering': ['pk'],
            },
        ),
        migrations.CreateModel(
            name='Installation',
            fields=[
                ('id', models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('namespace', models.CharField(default=cases.models.index._new_namespace, max_length=32)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                'db_table': 'installation',
            },
        ),
        migrations.AddField(
            model_name='taskrun',
            name='index_retries',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.CreateModel(
            name='AnnotationBatch',
            fields=[
                ('id', models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('asked', models.JSONField(default=dict)),
                ('events', models.IntegerField(default=0)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('undone_at', models.DateTimeField(blank=True, null=True)),
                ('author', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('case_ref', models.ForeignKey(db_column='case_pk', on_delete=django.db.models.deletion.CASCADE, related_name='annotation_batches', to='cases.case')),
                ('undone_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name_plural': 'annotation batches',
                'db_table': 'annotation_batches',
                'ordering': ['-pk'],
            },
        ),
        migrations.CreateModel(
            name='Annotation',
            fields=[
                ('id', models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('event_id', models.CharField(max_length=64)),
                ('evidence_uid', models.CharField(blank=True, db_index=True, default='', max_length=255)),
                ('star', models.BooleanField(default=False)),
                ('comment', models.TextField(blank=True, default='')),
                ('comment_folded', models.TextField(blank=True, default='')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('updated_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('author', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('case_ref', models.ForeignKey(db_column='case_pk', on_delete=django.db.models.deletion.CASCADE, related_name='annotations', to='cases.case')),
                ('batch', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='annotations', to='cases.annotationbatch')),
            ],
            options={
                'db_table': 'annotations',
                'ordering': ['pk'],
            },
        ),
        migrations.CreateModel(
            name='AnnotationTag',
            fields=[
                ('id', models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('tag', models.CharField(max_length=255)),
                ('folded', models.CharField(db_index=True, max_length=255)),
                ('annotation', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='tag_rows', to='cases.annotation')),
            ],
            options={
                'db_table': 'annotation_tags',
                'ordering': ['pk'],
            },
        ),
        migrations.CreateModel(
            name='SavedSearch',
            fields=[
                ('id', models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=255)),
                ('q', models.TextField(blank=True, default='')),
                ('start', models.CharField(blank=True, default='', max_length=64)),
                ('end', models.CharField(blank=True, default='', max_length=64)),
                ('columns', models.JSONField(blank=True, default=list)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('updated_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('author', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('case_ref', models.ForeignKey(db_column='case_pk', on_delete=django.db.models.deletion.CASCADE, related_name='saved_searches', to='cases.case')),
            ],
            options={
                'verbose_name_plural': 'saved searches',
                'db_table': 'saved_searches',
                'ordering': ['name'],
            },
        ),
        migrations.AddIndex(
            model_name='annotation',
            index=models.Index(fields=['case_ref', 'event_id'], name='annotations_of_an_event'),
        ),
        migrations.AddIndex(
            model_name='annotation',
            index=models.Index(condition=models.Q(('star', True)), fields=['case_ref'], name='annotations_with_a_star'),
        ),
        migrations.AddConstraint(
            model_name='annotationtag',
            constraint=models.UniqueConstraint(fields=('annotation', 'folded'), name='a_tag_once_in_an_annotation'),
        ),
        migrations.AddConstraint(
            model_name='savedsearch',
            constraint=models.UniqueConstraint(fields=('case_ref', 'name'), name='a_search_name_once_in_a_case'),
        ),
    ]
