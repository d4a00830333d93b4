from django.db import migrations

import apps.core.fields
import apps.core.refs


class Migration(migrations.Migration):

    dependencies = [
        ('actions', '0005_policy_revision'),
    ]

    operations = [
        migrations.AlterField(
            model_name='policy',
            name='ref',
            field=apps.core.fields.RefField(max_length=255, unique=True, validators=[apps.core.refs.validate_policy_ref]),
        ),
    ]
