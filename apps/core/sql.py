"""
Statements of the hot paths, written out once instead of being built by the ORM for each call.

An execution is written four times and every write has its history row: there the ORM's own work costs five times the
database's. Values go through the model's fields all the same, so that both databases store what the ORM would. Nothing
here knows a domain; table and column names come from models, values are always parameters.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeVar
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connection, connections, models

from apps.core.fields import JSONList, RefField, Text, UpdatedField

# "Now" of the database in the form in which the ORM stores times (see core.fields.Now).
_NOW = {"postgresql": "statement_timestamp()", "sqlite": "strftime('%%Y-%%m-%%d %%H:%%M:%%f000', 'now')"}

_MOST_ROWS = 400  # in one INSERT: SQLite takes 32,766 parameters, PostgreSQL 65,535, and a table has up to 70 columns

Row = Mapping[str, Any]
_Model = TypeVar("_Model", bound=models.Model)
_Answer = TypeVar("_Answer")


def now_text() -> str:
    """Return the SQL expression for the present moment, for a statement with placeholders."""
    return _NOW[connection.vendor]


def skip_locked_text() -> str:
    """Return what makes a SELECT take row locks and pass over locked rows; SQLite's one write lock needs none."""
    return "FOR NO KEY UPDATE SKIP LOCKED" if connection.features.has_select_for_update_skip_locked else ""


def indexed_by(index: str) -> str:
    """
    Return what follows a table's name so that this index is used.

    SQLite prefers a column that is compared with a constant to a partial index, and then looks at every such row.
    PostgreSQL's planner knows better and has no such words.
    """
    return f"INDEXED BY {index}" if connection.vendor == "sqlite" else ""


def fetch(text: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Run a SELECT with placeholders (a percent sign is written twice) and return its rows, as the driver gives them."""
    return _run(text, parameters, _all_rows)


def insert(model: type[models.Model], rows: Sequence[Row]) -> None:
    """Insert any number of rows that all have the same columns; the database fills in its defaults."""
    for part in _portions(rows):
        parameters = [value for row in part for value in _adapted(model, row)]
        _run(_insert_text(model, tuple(part[0]), len(part)), parameters, _nothing)


def _portions(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    for start in range(0, len(rows), _MOST_ROWS):
        yield rows[start : start + _MOST_ROWS]


def insert_returning(model: type[models.Model], row: Row, returning: Sequence[str]) -> tuple[Any, ...]:
    """Insert one row and return these columns of it, converted as the ORM does."""
    text = f"{_insert_text(model, tuple(row), 1)} RETURNING {', '.join(map(_quoted, returning))}"
    found = _run(text, _adapted(model, row), _all_rows)[0]
    return tuple(_converted(_fields(model)[name], value) for name, value in zip(returning, found, strict=True))


def insert_many_returning(
    model: type[models.Model], rows: Sequence[Row], returning: Sequence[str]
) -> list[tuple[Any, ...]]:
    """
    Insert rows that all have the same columns and return these columns of each, in the order of the rows.

    The first of ``returning`` is a number that the database counts up: neither database promises in which order it
    gives back what it has inserted, but both number the rows in the order in which they come.
    """
    fields = [_fields(model)[name] for name in returning]
    found: list[tuple[Any, ...]] = []
    for part in _portions(rows):
        text = f"{_insert_text(model, tuple(part[0]), len(part))} RETURNING {', '.join(map(_quoted, returning))}"
        parameters = [value for row in part for value in _adapted(model, row)]
        found += sorted(_run(text, parameters, _all_rows), key=_first)
    return [tuple(_converted(field, value) for field, value in zip(fields, row, strict=True)) for row in found]


def _first(row: tuple[Any, ...]) -> Any:
    return row[0]


def update(model: type[models.Model], values: Row, where: str, parameters: Sequence[Any]) -> int:
    """Update the rows for which ``where`` (SQL with placeholders) holds; return how many there were."""
    text = f"UPDATE {_quoted(model._meta.db_table)} SET {_assignments(model, tuple(values))} WHERE {where}"
    return _run(text, [*_adapted(model, values), *parameters], _row_count)


def update_returning(model: type[_Model], values: Row, where: str, parameters: Sequence[Any]) -> _Model | None:
    """Update the one row for which ``where`` holds and return it as it is then, None when there is none."""
    columns, _ = _reading(model, connection.vendor)
    text = f"UPDATE {_quoted(model._meta.db_table)} SET {_assignments(model, tuple(values))} WHERE {where}"
    rows = _run(f"{text} RETURNING {columns}", [*_adapted(model, values), *parameters], _all_rows)
    return _instance(model, rows[0]) if rows else None


def get(model: type[_Model], where: str, parameters: Sequence[Any]) -> _Model | None:
    """Return the one row for which ``where`` holds as an instance of its model, None when there is none."""
    columns, _ = _reading(model, connection.vendor)
    rows = fetch(f"SELECT {columns} FROM {_quoted(model._meta.db_table)} WHERE {where}", parameters)
    return _instance(model, rows[0]) if rows else None


def _run(text: str, parameters: Sequence[Any], take: Callable[[Any], _Answer]) -> _Answer:
    """
    Run a statement and return what ``take`` gets from its cursor.

    On SQLite straight on the driver's connection, where nobody listens in: Django's cursor translates the placeholders
    anew each time, which takes as long as the statement. Errors are Django's all the same.
    """
    here = connections[DEFAULT_DB_ALIAS]
    if (
        here.vendor == "sqlite"
        and here.connection is not None
        and not here.queries_logged
        and not here.execute_wrappers
    ):
        here.validate_no_broken_transaction()
        with here.wrap_database_errors:
            return take(here.connection.execute(_with_question_marks(text), parameters))
    with here.cursor() as cursor:
        cursor.execute(text, parameters)
        return take(cursor)


@lru_cache(maxsize=1000)
def _with_question_marks(text: str) -> str:
    return text.replace("%s", "?").replace("%%", "%")


def _all_rows(cursor: Any) -> list[tuple[Any, ...]]:
    return list(cursor.fetchall())


def _row_count(cursor: Any) -> int:
    return int(cursor.rowcount)


def _nothing(_cursor: Any) -> None:
    return None


def _instance(model: type[_Model], row: Sequence[Any]) -> _Model:
    _columns, converters = _reading(model, connection.vendor)
    values = list(row)
    for position, convert in converters:
        if values[position] is not None:
            for converter in convert:
                values[position] = converter(values[position], None, connection)
    return model.from_db(connection.alias, _attributes(model), values)


@lru_cache
def _attributes(model: type[models.Model]) -> list[str]:
    return [str(field.attname) for field in model._meta.concrete_fields]


@lru_cache
def _reading(model: type[models.Model], vendor: str) -> tuple[str, list[tuple[int, list[Any]]]]:
    """Return the columns of a SELECT, and which of them a value has to be converted for."""
    del vendor  # the converters are of one kind of database
    fields = model._meta.concrete_fields
    converters = [(position, _converters(field)) for position, field in enumerate(fields)]
    return ", ".join(_quoted(str(field.column)) for field in fields), [pair for pair in converters if pair[1]]


def _converters(field: "models.Field[Any, Any]") -> list[Any]:
    column = field.get_col(field.model._meta.db_table)
    return [*connection.ops.get_db_converters(column), *field.get_db_converters(connection)]


def adapt(model: type[models.Model], name: str, value: Any) -> Any:
    """Return a value as the driver wants it for that column."""
    return _fields(model)[name].get_db_prep_save(value, connection)


def convert(model: type[models.Model], name: str, value: Any) -> Any:
    """Return a value of that column, as the driver gives it, as the ORM would."""
    return None if value is None else _converted(_fields(model)[name], value)


def _adapted(model: type[models.Model], row: Row) -> list[Any]:
    ops, native_uuid = connection.ops, connection.features.has_native_uuid_field
    values = []
    for (field, kind), value in zip(_kinds_of(model, tuple(row)), row.values(), strict=True):
        if value is None or (kind is _AS_IT_IS and type(value) in _PLAIN):
            values.append(value)
        elif kind is _TIME and isinstance(value, datetime):
            values.append(ops.adapt_datetimefield_value(value))
        elif kind is _JSON:
            values.append(ops.adapt_json_value(value, None))
        elif kind is _UUID and isinstance(value, UUID):
            values.append(value if native_uuid else value.hex)
        else:
            values.append(field.get_db_prep_save(value, connection))
    return values


@lru_cache(maxsize=1000)
def _kinds_of(model: type[models.Model], names: tuple[str, ...]) -> tuple[tuple[Any, str | None], ...]:
    fields = _fields(model)
    return tuple((fields[name], _KINDS.get(type(fields[name]))) for name in names)


# What the ORM comes to for these fields, after several layers; anything else goes through all of them.
_AS_IT_IS, _TIME, _JSON, _UUID = "as it is", "time", "json", "uuid"
_PLAIN = frozenset({int, str, bool})
_KINDS: dict[type, str] = {
    **dict.fromkeys(
        (
            Text, RefField, models.CharField, models.TextField, models.IntegerField, models.BigIntegerField,
            models.BigAutoField, models.BooleanField, models.ForeignKey, models.OneToOneField,
        ),
        _AS_IT_IS,
    ),
    models.DateTimeField: _TIME,
    UpdatedField: _TIME,
    models.JSONField: _JSON,
    JSONList: _JSON,
    models.UUIDField: _UUID,
}  # fmt: skip


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
    for converter in _converters(field):
        value = converter(value, None, connection)
    return value
