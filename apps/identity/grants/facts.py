"""
What the check of a grant looks at: an object reduced to what constraints speak of.

Each app says how its rows are described and where they are found::

    # apps/actions/apps.py, ready()
    facts.register(Action, lambda row: Facts(id=row.pk, ref=row.ref, pack_ref=row.pack_ref), resource="actions")
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, TypeVar

from django.db.models import Model


class Lacking(Enum):
    """Stands for a property that objects of this kind do not have; every constraint on it fails."""

    LACKING = "lacking"


LACKING = Lacking.LACKING


@dataclass(frozen=True, kw_only=True)
class Facts:
    """
    An object as constraints see it; what is left out is lacking.

    ``owner_identity`` is the id of the owning identity, its login where that is what the row holds, None when there
    is none. ``owner_ref`` is every name under which the owner goes.
    """

    id: int | None = None
    ref: str | None = None
    pack_ref: str | None = None
    owner_identity: int | str | Lacking | None = LACKING
    owner_type: str | None = None
    owner_ref: str | frozenset[str] | None = None
    visibility: str | None = None
    encrypted: bool | None = None
    execution_id: int | None = None
    executor_id: int | None = None

    def with_values(self, values: Mapping[str, Any]) -> "Facts":
        """Return the facts of the object once a request has given it these values; others are ignored."""
        known = {name: values[name] for name in ("ref", "pack_ref", "visibility", "encrypted") if name in values}
        return replace(self, **known)


NOTHING_KNOWN = Facts()

_Row = TypeVar("_Row", bound=Model)
_descriptions: dict[type[Model], Callable[[Any], Facts]] = {}
_places: dict[str, list[tuple[type[Model], str]]] = {}


def register(
    model: type[_Row], describe: Callable[[_Row], Facts], *, resource: str | None = None, lookup: str = "ref"
) -> None:
    """Say how rows of a model are described; ``resource`` and ``lookup`` name where explanations find them."""
    _descriptions[model] = describe
    places = _places.setdefault(resource, []) if resource is not None else []
    if (model, lookup) not in places:
        places.append((model, lookup))


def facts_of(row: object) -> Facts:
    """
    Return the facts of a row, or of the values of a request (facts are their own).

    Of what nobody described only the id is known, so that constraints on anything else fail.
    """
    if isinstance(row, Facts):
        return row
    if isinstance(row, Mapping):
        return NOTHING_KNOWN.with_values(row)
    for kind in type(row).__mro__:
        if kind in _descriptions:
            return _descriptions[kind](row)
    own_id = getattr(row, "pk", None)
    return Facts(id=own_id if isinstance(own_id, int) else None)


def find(resource: str, ref: str) -> Model | None:
    """Return the object that a ref (of what has no ref: an id) names among those of a resource."""
    for model, lookup in _places.get(resource, ()):
        if lookup == "pk":
            if not (ref.isascii() and ref.isdigit() and int(ref) < 2**63):
                continue
            found = model._default_manager.filter(pk=int(ref)).first()
        else:
            found = model._default_manager.filter(**{lookup: ref}).first()
        if found is not None:
            return found
    return None
