"""b612d12d1c70: Add token epoch and locale to users"""

from django.db import migrations, models


class Migration(migrations.Migration):
    revision = "b612d12d1c70"
    title = "Add token epoch and locale to users"
    dependencies = [
        ("accounts", "0002_7b4f50a1e0e0_user_security_fields"),
        ("cases", "0006_0d8c359bb4f1_sync"),
    ]
    operations = [
        migrations.AlterModelOptions(
            name='user',
            options={'ordering': ['pk']},
        ),
        migrations.AddField(
            model_name='user',
            name='locale',
            field=models.CharField(blank=True, db_default='', default='', max_length=16),
        ),
        migrations.AddField(
            model_name='user',
            name='token_epoch',
            field=models.IntegerField(db_default=0, default=0),
        ),
    ]
