"""
What a view states about each of its actions: which grant it takes, and what a caller without it gets.

A view without a classification for an action is a start-up error (a system check)::

    grants = {
        "list": filtered("actions:read"),       # the visible rows only; ``visible_to`` decides
        "retrieve": filtered("actions:read"),   # not visible -> 404
        "create": "actions:create",             # without the grant -> 403
        "update": "actions:update",             # absent -> 404, without the grant -> 403
        "cancel": by_object("executions:cancel"),  # the view calls ``self.authorize(row)`` itself
        "me": ANY_TOKEN,
        "login": PUBLIC,
    }
"""

from dataclasses import dataclass
from enum import Enum


class Mode(Enum):
    REQUIRED = "required"
    FILTERED = "filtered"
    BY_OBJECT = "by object"
    ANY_TOKEN = "any token"
    PUBLIC = "public"


@dataclass(frozen=True)
class Classification:
    """A grant (``resource:action``, empty where none is needed) and how it is applied."""

    grant: str
    mode: Mode


ANY_TOKEN = Classification("", Mode.ANY_TOKEN)
PUBLIC = Classification("", Mode.PUBLIC)


def filtered(grant: str) -> Classification:
    """The rows that ``visible_to`` leaves, for lists and single reads."""
    return Classification(grant, Mode.FILTERED)


def by_object(grant: str) -> Classification:
    """The view resolves its object and calls ``authorize`` with it."""
    return Classification(grant, Mode.BY_OBJECT)


def classified(value: str | Classification) -> Classification:
    """Return the classification; a plain ``resource:action`` is required."""
    return value if isinstance(value, Classification) else Classification(value, Mode.REQUIRED)
