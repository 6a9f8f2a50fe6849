"""c6e23e92af16 (1/2): Add users table and user foreign key to cases"""
import django.utils.timezone
from django.db import migrations, models

from datamortem.revisions.operations import CreateModelIfMissing


class Migration(migrations.Migration):
    initial = True
    revision = "c6e23e92af16"
    title = "Add users table and user foreign key to cases"
    # nothing of ours: admin, authtoken, ... depend on accounts.__first__, so this node must stay a root
    dependencies = [("auth", "0012_alter_user_first_name_max_length")]
    operations = [
        CreateModelIfMissing(
            name="User",
            fields=[
                ("id", models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("email", models.CharField(unique=True)),
                ("username", models.CharField(unique=True)),
                ("password", models.CharField(db_column="hashed_password")),
                ("full_name", models.CharField(blank=True, null=True)),
                ("role", models.CharField(default="analyst")),
                ("is_active", models.BooleanField(default=True)),
                ("is_superuser", models.BooleanField(default=False)),
                ("created_at_utc", models.DateTimeField(default=django.utils.timezone.now)),
                ("last_login", models.DateTimeField(blank=True, db_column="last_login_utc", null=True)),
                ("groups", models.ManyToManyField(blank=True, help_text="The groups this user belongs to. A user will get all permissions granted to each of their groups.", related_name="user_set", related_query_name="user", to="auth.group", verbose_name="groups")),
                ("user_permissions", models.ManyToManyField(blank=True, help_text="Specific permissions for this user.", related_name="user_set", related_query_name="user", to="auth.permission", verbose_name="user permissions")),
            ],
            options={"db_table": "users"},
        ),
    ]
