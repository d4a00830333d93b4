from django.db import migrations

# An operator may repair a status with plain SQL (model.md 1.3); it gets a history row with the actor "sql" (8.1).
# The product's own connections say attune.origin=attune and write their history themselves.
FUNCTION = """
CREATE OR REPLACE FUNCTION execution_status_by_sql() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO execution_history (operation, entity_id, entity_ref, changed_fields, old_values, new_values, actor, epoch)
    VALUES ('UPDATE', NEW.id, NEW.action_ref, '["status"]', jsonb_build_object('status', OLD.status),
            jsonb_build_object('status', NEW.status), 'sql', NEW.epoch);
    RETURN NEW;
END $$
"""
TRIGGER = """
CREATE TRIGGER execution_status_by_sql AFTER UPDATE OF status ON execution FOR EACH ROW
WHEN (OLD.status IS DISTINCT FROM NEW.status AND current_setting('attune.origin', true) IS DISTINCT FROM 'attune')
EXECUTE FUNCTION execution_status_by_sql()
"""


def install(apps, schema_editor):  # type: ignore[no-untyped-def]  # Django's signature
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(FUNCTION)
        schema_editor.execute(TRIGGER)


def remove(apps, schema_editor):  # type: ignore[no-untyped-def]  # Django's signature
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP FUNCTION IF EXISTS execution_status_by_sql CASCADE")


class Migration(migrations.Migration):
    dependencies = (("executions", "0001_initial"),)
    operations = (migrations.RunPython(install, remove),)
