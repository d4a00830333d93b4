from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('queues', '0002_refs_of_queues_and_due_items'),
    ]

    operations = [
        migrations.AddField(
            model_name='workqueue',
            name='told_full_at',
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name='workqueue',
            name='told_stuck_at',
            field=models.DateTimeField(editable=False, null=True),
        ),
    ]
