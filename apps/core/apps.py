from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.db import connections
from django.db.models.signals import pre_migrate


def make_schema(*, using: str, **_signal: Any) -> None:
    """Create the schema of the tables ahead of the first migration, and make it the role's default (model.md 1.3)."""
    connection = connections[using]
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        schema = connection.ops.quote_name(settings.DATABASE_SCHEMA)
        cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        database = connection.ops.quote_name(str(connection.settings_dict["NAME"]))
        cursor.execute(f"ALTER ROLE CURRENT_USER IN DATABASE {database} SET search_path = {schema}, public")


class CoreConfig(AppConfig):
    name = "apps.core"

    def ready(self) -> None:
        pre_migrate.connect(make_schema, sender=self, dispatch_uid="core.make_schema")
