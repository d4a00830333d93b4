"""
Filters that look for a text, in any case of its letters.

In a JSON column (``result_contains``, ``payload_contains``) there is no index for it: they look through so many of the
newest rows that match the rest, and say so in ``pagination.window`` (model.md 6.2).
"""

import json
import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

from django.db import connection
from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast

from apps.core.api import query
from apps.core.api.pagination import NewestFirstPagination
from apps.core.api.query import Params
from apps.core.errors import BadRequest

WINDOW: Final = 100_000
_LONGEST_TEXT = 1000

_Rows = TypeVar("_Rows", bound="QuerySet[Any]")


class WindowPagination(NewestFirstPagination):
    """Says how many of the newest rows were looked through, when not all were."""

    window: int | None = None

    def pagination(self) -> dict[str, Any]:
        told = super().pagination()
        return told if self.window is None else {**told, "window": self.window}


def text_to_find(params: Params, name: str) -> str | None:
    """Return the text that a query asks for. Raises BadRequest for one that nothing can hold, or that is too long."""
    text = query.text(params, name)
    if text is not None and (len(text) > _LONGEST_TEXT or "\0" in text):
        raise BadRequest(f"{name} takes at most {_LONGEST_TEXT} characters, none of them U+0000")
    return text


def containing(rows: _Rows, column: str, text: str | None) -> _Rows:
    """
    Return those of the newest rows whose JSON in this column holds the text, in any case; all rows without a text.

    Asks for the edge of the window.
    """
    if text is None:
        return rows
    return newest(rows).alias(searched_text=Cast(column, TextField())).filter(_holds(text))


def newest(rows: _Rows) -> _Rows:
    """Return the newest of the rows: as many as a search without an index looks through. Asks for the edge."""
    ordered = rows.order_by("-created", "-id").values_list("created", "id")
    edge = ordered[WINDOW - 1 : WINDOW].first()
    if edge is None:
        return rows
    created, pk = edge
    return rows.filter(Q(created__gt=created) | Q(created=created, id__gte=pk))


def in_any_case(field: str, text: str) -> Q:
    """The condition that a column of plain text holds the text."""
    if text.isascii():
        return Q(**{f"{field}__icontains": text})
    # Neither database folds the case of other letters under every locale, so both cases are named.
    return Q(**{f"{field}__iregex": _any_case(text, str)})


def _holds(text: str) -> Q:
    """The condition that ``searched_text``, a JSON text, holds the text, as it is or as JSON spells it."""
    condition = _contains(text)
    spelled = json.dumps(text, ensure_ascii=False)[1:-1]
    return condition if spelled == text else condition | _contains(spelled)


def _contains(text: str) -> Q:
    if text.isascii() or connection.vendor != "sqlite":
        return in_any_case("searched_text", text)
    return Q(searched_text__iregex=_any_case(text, _escaped))


def _escaped(text: str) -> str:
    """Return the text as SQLite's JSON holds it: other letters than ASCII as backslash-u escapes."""
    return json.dumps(text)[1:-1]


def _any_case(text: str, spelled: Callable[[str], str]) -> str:
    """Return a pattern that names both cases of each letter that is not ASCII."""
    return "".join(
        re.escape(character) if character.isascii() else _variants(character, spelled) for character in text
    )


def _variants(character: str, spelled: Callable[[str], str]) -> str:
    variants = {spelled(variant) for variant in (character, character.lower(), character.upper())}
    return f"(?:{'|'.join(re.escape(variant) for variant in sorted(variants))})"
