from django.db import migrations


def add_system(apps, schema_editor):  # type: ignore[no-untyped-def]  # Django's signature
    """Row 1 is the built-in identity: no password, no grants, cannot sign in (model.md 4.1)."""
    apps.get_model("identity", "Identity").objects.create(login="system", display_name="Attune")


class Migration(migrations.Migration):
    dependencies = (("identity", "0001_initial"),)
    operations = (migrations.RunPython(add_system, migrations.RunPython.noop),)
