"""How the objects of rights are looked up."""

from typing import Any, TypeVar

from django.db.models import Model, QuerySet

from apps.core.api import query
from apps.core.errors import NotFound

_Row = TypeVar("_Row", bound=Model)


def row_with_id(rows: "QuerySet[_Row]", value: str, noun: str) -> _Row:
    """Return the row of an id in a path. Raises BadRequest for what is no id, NotFound."""
    row = rows.filter(pk=query.path_id(value)).first()
    if row is None:
        raise NotFound(f"{noun} with ID {value} not found")
    return row


class ReadsRefused:
    """Reads without any grant answer 403, for a single row too: nothing of identities and rights is public."""

    def before_denial(self: Any) -> None:
        if self.request.method not in self.READS:
            super().before_denial()  # type: ignore[misc]  # the ViewSet it is mixed into
