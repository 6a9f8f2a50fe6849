"""7b4f50a1e0e0: Add email verification and OTP fields to users (branch 1)"""
from django.db import migrations, models

from datamortem.revisions.operations import AddFieldIfMissing


class Migration(migrations.Migration):
    revision = "7b4f50a1e0e0"
    title = "Add email verification and OTP fields to users"
    dependencies = [
        ("accounts", "0001_c6e23e92af16_users"),
        ("scripts_marketplace", "0002_8f6e0f2be8d2_script_runtime_fields"),     # down_revision 8f6e0f2be8d2
    ]
    operations = [
        AddFieldIfMissing("user", "email_verified", models.BooleanField(default=False)),
        AddFieldIfMissing("user", "email_verification_token", models.CharField(blank=True, null=True, unique=True)),
        AddFieldIfMissing("user", "email_verification_sent_at", models.DateTimeField(blank=True, null=True)),
        AddFieldIfMissing("user", "otp_enabled", models.BooleanField(default=False)),
        AddFieldIfMissing("user", "otp_secret", models.CharField(blank=True, null=True)),
    ]
