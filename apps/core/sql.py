"""
Statements of the hot paths, written out once instead of being built by the ORM for each call.

An execution is written four times and every write has its history row: there the ORM's own work costs five times the
database's. Values go through the model's fields all the same, so that both databases store what the ORM would. Nothing
here knows a domain; table and column names come from models, values are always parameters.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from django.db import connection, models

# "Now" of the database in the form in which the ORM stores times (see core.fields.Now).
_NOW = {"postgresql": "statement_timestamp()", "sqlite": "strftime('%%Y-%%m-%%d %%H:%%M:%%f000', 'now')"}

Row = Mapping[str, Any]


def now_text() -> str:
    """Return the SQL expression for the present moment, for a statement with placeholders."""
    return _NOW[connection.vendor]


def skip_locked_text() -> str:
    """Return what makes a SELECT take row locks and pass over locked rows; SQLite's one write lock needs none."""
    return "FOR NO KEY UPDATE SKIP LOCKED" if connection.features.has_select_for_update_skip_locked else ""


def fetch(text: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Run a SELECT with placeholders (a percent sign is written twice) and return its rows, as the driver gives them."""
    with connection.cursor() as cursor:
        cursor.execute(text, parameters)
        return cursor.fetchall()


def insert(model: type[models.Model], rows: Sequence[Row]) -> None:
    """Insert rows that all have the same columns; the database fills in its defaults."""
    if not rows:
        return
    names = tuple(rows[0])
    parameters = [value for row in rows for value in _adapted(model, row)]
    with connection.cursor() as cursor:
        cursor.execute(_insert_text(model, names, len(rows)), parameters)


def insert_returning(model: type[models.Model], row: Row, returning: Sequence[str]) -> tuple[Any, ...]:
    """Insert one row and return these columns of it, converted as the ORM does."""
    text = f"{_insert_text(model, tuple(row), 1)} RETURNING {', '.join(map(_quoted, returning))}"
    with connection.cursor() as cursor:
        cursor.execute(text, list(_adapted(model, row)))
        found = cursor.fetchone()
    return tuple(_converted(_fields(model)[name], value) for name, value in zip(returning, found, strict=True))


def update(model: type[models.Model], values: Row, where: str, parameters: Sequence[Any]) -> int:
    """Update the rows for which ``where`` (SQL with placeholders) holds; return how many there were."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {_quoted(model._meta.db_table)} SET {_assignments(model, tuple(values))} WHERE {where}",
            [*_adapted(model, values), *parameters],
        )
        return int(cursor.rowcount)


def update_returning(
    model: type[models.Model], values: Row, where: str, parameters: Sequence[Any]
) -> list[tuple[Any, ...]]:
    """The same with a ``where`` that ends in RETURNING; return the rows that it gives back."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {_quoted(model._meta.db_table)} SET {_assignments(model, tuple(values))} WHERE {where}",
            [*_adapted(model, values), *parameters],
        )
        return cursor.fetchall()


def adapt(model: type[models.Model], name: str, value: Any) -> Any:
    """Return a value as the driver wants it for that column."""
    return _fields(model)[name].get_db_prep_save(value, connection)


def _adapted(model: type[models.Model], row: Row) -> list[Any]:
    fields = _fields(model)
    return [fields[name].get_db_prep_save(value, connection) for name, value in row.items()]


@lru_cache
def _fields(model: type[models.Model]) -> "dict[str, models.Field[Any, Any]]":
    """Return the model's fields by column."""
    return {str(field.column): field for field in model._meta.concrete_fields}


@lru_cache(maxsize=1000)
def _insert_text(model: type[models.Model], names: tuple[str, ...], rows: int) -> str:
    columns = ", ".join(map(_quoted, names))
    one = f"({', '.join(['%s'] * len(names))})"
    return f"INSERT INTO {_quoted(model._meta.db_table)} ({columns}) VALUES {', '.join([one] * rows)}"


@lru_cache(maxsize=1000)
def _assignments(model: type[models.Model], names: tuple[str, ...]) -> str:
    return ", ".join(f"{_quoted(name)} = %s" for name in names)


def _quoted(name: str) -> str:
    return f'"{name}"'


def _converted(field: "models.Field[Any, Any]", value: Any) -> Any:
    for converter in (*connection.ops.get_db_converters(field.get_col(field.model._meta.db_table)),
                      *field.get_db_converters(connection)):  # fmt: skip
        value = converter(value, None, connection)
    return value
