"""
What a deletion means for rows of higher apps, said to whoever deletes. Those apps register what they have to say::

    consequences.register(Action, lambda action: "2 rules stop firing")     # in ready(); "" for nothing to say

    sentences = consequences.of(row)                                        # before the row is deleted
"""

from collections.abc import Callable
from typing import Any, TypeVar

from django.db.models import Model

_Row = TypeVar("_Row", bound=Model)
_tellers: dict[type[Model], list[Callable[[Any], str]]] = {}


def register(model: type[_Row], teller: Callable[[_Row], str]) -> None:
    """Let the teller say what deleting a row of this model means; the same one counts once."""
    tellers = _tellers.setdefault(model, [])
    if teller not in tellers:
        tellers.append(teller)


def of(row: Model) -> list[str]:
    """Return what deleting this row would mean, one sentence (without its full stop) each."""
    return [sentence for teller in _tellers.get(type(row), ()) if (sentence := teller(row))]
