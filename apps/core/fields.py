"""Columns that behave alike on SQLite and on PostgreSQL."""

from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import functions


class _CodePointOrder(models.Field):
    """Order and compare by code point, whatever the locale of the PostgreSQL server."""

    def db_parameters(self, connection: BaseDatabaseWrapper) -> dict[str, Any]:
        parameters: dict[str, Any] = dict(super().db_parameters(connection))
        if connection.vendor == "postgresql":
            parameters["collation"] = "C"
        return parameters


class Text(_CodePointOrder, models.CharField):
    """Text of at most ``max_length`` characters, ordered by code point."""


class RefField(Text):
    """The ref of a component; its pattern is checked in the model's validation."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", 255)
        super().__init__(*args, **kwargs)


class JSONList(models.JSONField):
    """
    A JSON list; ``{}``, which plain SQL may have put there, reads as an empty one (model.md 1.3).

    To migrations it is a JSONField: in the database nothing differs.
    """

    def from_db_value(self, value: Any, expression: Any, connection: BaseDatabaseWrapper) -> Any:
        found = super().from_db_value(value, expression, connection)
        return [] if found == {} else found

    def deconstruct(self) -> Any:
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.JSONField", args, kwargs


class RandomUUID(models.Func):
    """A random UUID made by the database, so that a plain SQL INSERT gets one too."""

    output_field = models.UUIDField()
    arity = 0

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return super().as_sql(compiler, connection, template="gen_random_uuid()", **context)

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return super().as_sql(compiler, connection, template="lower(hex(randomblob(16)))", **context)


class Now(functions.Now):
    """
    The moment of the statement by the database's clock, with six decimals everywhere.

    SQLite keeps times as text: with Django's three decimals a row is not equal to the time that was read from it.
    """

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "STRFTIME('%%%%Y-%%%%m-%%%%d %%%%H:%%%%M:%%%%f000', 'NOW')"
        return self.as_sql(compiler, connection, template=template, **context)


class UpdatedField(models.DateTimeField):
    """The moment of the row's last write; QuerySet.update of a base QuerySet sets it as well."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["db_default"] = Now()
        super().__init__(*args, **kwargs)

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        if add:
            return super().pre_save(model_instance, add)
        from django.utils import timezone  # settings are not ready when fields are imported

        value = timezone.now()
        setattr(model_instance, self.attname, value)
        return value
