"""The one place where an exception becomes an answer (api.md 1.3, model.md 1.4)."""

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.core import exceptions as django
from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, OperationalError
from django.db.models import ProtectedError, RestrictedError
from django.http import Http404, UnreadablePostError
from rest_framework import exceptions as rest
from rest_framework.response import Response

from apps.core import errors, refs
from apps.core.errors import AttuneError, Detail

logger = logging.getLogger(__name__)

BETWEEN_FIELDS = "between_fields"  # ValidationError code of a rule between fields of one row: 400


class MethodNotAllowed(AttuneError):
    """This path does not take that method"""

    status, code = 405, "METHOD_NOT_ALLOWED"


class DatabaseFailed(AttuneError):
    """The database failed"""

    status, code = 500, "DATABASE_ERROR"


class InternalError(AttuneError):
    """Something went wrong on the server"""


def answer(exception: Exception, context: Mapping[str, Any]) -> Response:
    """Return the answer for whatever a view raised; DRF's EXCEPTION_HANDLER."""
    error = translate(exception)
    if isinstance(exception, rest.UnsupportedMediaType):
        error = _of_media_type(context)
    if error.status >= 500 and not isinstance(error, errors.NotImplementedYet | errors.Unavailable):
        request = context.get("request")
        logger.error(
            "%s %s failed", getattr(request, "method", "?"), getattr(request, "path", "?"), exc_info=exception
        )
    return Response(body_of(error), status=error.status, headers=headers_of(error))


def _of_media_type(context: Mapping[str, Any]) -> AttuneError:
    """Name what the view does read, where that is not JSON."""
    media_types = {parser.media_type for parser in getattr(context.get("view"), "parser_classes", ())}
    if "application/json" in media_types or not media_types:
        return errors.UnsupportedMediaType()
    return errors.UnsupportedMediaType(f"The body must be {' or '.join(sorted(media_types))}")


def body_of(error: AttuneError) -> dict[str, Any]:
    """Return the error body; the gate's is nested, unlike all others."""
    if isinstance(error, errors.GateError):
        return {"error": {"code": error.status, "message": error.message}}
    body: dict[str, Any] = {"error": error.message, "code": error.code, "status": error.status}
    if error.details is not None:
        body["details"] = error.details
    return body


def headers_of(error: AttuneError) -> dict[str, str]:
    if isinstance(error, errors.GateError):
        return {"WWW-Authenticate": "Bearer", **error.headers}
    return error.headers


def translate(exception: Exception) -> AttuneError:
    """Return the error that tells a client what the exception means."""
    match exception:
        case AttuneError():
            return exception
        case rest.APIException():
            return _of_framework(exception)
        case Http404():
            return errors.NotFound()
        case django.ObjectDoesNotExist():
            return errors.NotFound("It was deleted meanwhile")
        case django.PermissionDenied():
            return errors.Forbidden(str(exception))
        case django.ValidationError():
            return _of_model(exception)
        case django.RequestDataTooBig():
            return errors.PayloadTooLarge()
        case django.SuspiciousOperation() | UnreadablePostError() | UnicodeError():
            return errors.BadRequest("The request cannot be read")
        case RecursionError():
            return errors.BadRequest("The request is nested too deeply")
        case ProtectedError():
            return _in_the_way(exception.protected_objects)
        case RestrictedError():
            return _in_the_way(exception.restricted_objects)
        case DatabaseError() | InterfaceError() | OverflowError():
            return of_database(exception)
        case _:
            return InternalError()


# --- The framework's own and model validation -------------------------------------------------------------------


def _of_framework(exception: rest.APIException) -> AttuneError:
    match exception:
        case rest.ValidationError():
            return of_validation(_flatten(exception.detail))
        case rest.ParseError():
            return errors.BadRequest(str(exception.detail))
        case rest.NotAuthenticated():
            return errors.GateError()
        case rest.AuthenticationFailed():
            return errors.GateError("Invalid authentication token")
        case rest.PermissionDenied():
            return errors.Forbidden(str(exception.detail))
        case rest.NotFound():
            return errors.NotFound(str(exception.detail))
        case rest.MethodNotAllowed():
            return MethodNotAllowed(str(exception.detail))
        case rest.UnsupportedMediaType():
            return errors.UnsupportedMediaType()
        case rest.Throttled():
            return errors.TooManyRequests()
        case _:
            return errors.BadRequest(str(exception.detail)) if exception.status_code < 500 else InternalError()


def _of_model(exception: django.ValidationError) -> AttuneError:
    by_field = exception.error_dict if hasattr(exception, "error_dict") else {"": exception.error_list}
    return of_validation(
        (("" if field == django.NON_FIELD_ERRORS else field, message, error.code or "")
         for field, found in by_field.items()
         for error in found
         for message in error.messages)
    )  # fmt: skip


def of_validation(found: Iterator[tuple[str, str, str]]) -> AttuneError:
    """Return the error for broken rules, each (field, message, code); the gravest kind decides."""
    rules = list(found)
    codes = {code for _field, _message, code in rules}
    details = [Detail(field=field, message=message) for field, message, _code in rules]
    if codes & {"unique", "unique_together"} and codes <= {"unique", "unique_together"}:
        return errors.ConflictError(f"Already exists ({', '.join(sorted({field for field, *_ in rules if field}))})")
    if codes == {BETWEEN_FIELDS}:
        return errors.BadRequest(details[0]["message"])
    if codes == {refs.FORMAT}:
        first = details[0]
        text = f"{first['field']}: {first['message']}" if first["field"] else first["message"]
        return errors.UnprocessableEntity(text, details=details)
    return errors.ValidationFailed(details=details)


def _flatten(detail: Any, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield (field path, message, code) of every leaf of a serializer's errors."""
    if isinstance(detail, Mapping):
        for key, inner in detail.items():
            yield from _flatten(inner, _below(path, key))
    elif isinstance(detail, Sequence) and not isinstance(detail, str):
        for index, inner in enumerate(detail):
            yield from _flatten(inner, path if isinstance(inner, str) or not inner else f"{path}[{index}]")
    else:
        yield path, str(detail), str(getattr(detail, "code", ""))


def _below(path: str, key: object) -> str:
    """Return the path of a member: ``tags[0]``, ``limits.memory_mb``."""
    if key in {"non_field_errors", django.NON_FIELD_ERRORS}:
        return path
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else str(key)


# --- The database -----------------------------------------------------------------------------------------------

_COLUMNS = {
    "sqlite": re.compile(r"constraint failed: (?P<names>[\w., ]+)"),
    "postgresql": re.compile(r"Key \((?P<names>[^)]*)\)"),
}


_NOTHING_SAVED = "Save with update_fields did not affect any rows"  # Django's words; it has no class for it


def of_database(exception: Exception) -> AttuneError:
    """Return the error for what the database refused: alike on SQLite and PostgreSQL, and without its SQL."""
    state = getattr(exception.__cause__, "sqlstate", None) or ""
    text = str(exception)
    if text.startswith(_NOTHING_SAVED):
        return errors.NotFound("It was deleted meanwhile")
    if isinstance(exception, IntegrityError):
        return _of_constraint(state, text)
    if isinstance(exception, DataError | OverflowError):
        return errors.ValidationFailed("A value is longer or larger than its column takes")
    if isinstance(exception, OperationalError | InterfaceError):
        logger.warning("The database did not answer: %s", text.split("\n")[0])
        return errors.Unavailable("The database does not answer just now; try again")
    return DatabaseFailed()


def _of_constraint(state: str, text: str) -> AttuneError:
    if state == "23505" or text.startswith("UNIQUE constraint"):
        return errors.ConflictError(f"Already exists ({_columns(text)})")
    if state in {"23503", "23001"} or text.startswith("FOREIGN KEY constraint"):
        return errors.UnprocessableEntity(f"Referenced entity does not exist ({_columns(text)})")
    if state == "23502" or text.startswith("NOT NULL constraint"):
        return errors.ValidationFailed("A required value is missing")
    return errors.ValidationFailed("A value is outside of what is allowed")


def _columns(text: str) -> str:
    for pattern in _COLUMNS.values():
        if found := pattern.search(text):
            # SQLite says table.column, PostgreSQL the column: the column is what a client knows.
            return ", ".join(name.strip().rpartition(".")[2] for name in found["names"].split(","))
    return "a row that it names"


def _in_the_way(rows: Any) -> AttuneError:
    kinds = Counter(str(row._meta.verbose_name) for row in rows)
    listed = ", ".join(f"{number} {kind}{'s' if number > 1 else ''}" for kind, number in sorted(kinds.items()))
    return errors.UnprocessableEntity(f"It is still used by {listed}")
