"""
What others change at the same moment.

PostgreSQL looks at foreign keys at the end of a transaction and then refuses a deletion for the sake of a row that was
made below it meanwhile; and of two who wait for each other it ends one. Both pass when they are tried again.
"""

from collections.abc import Callable
from typing import TypeVar

from django.db import DatabaseError, connection

_TRIES = 20  # a deletion below which others keep making rows needs several under load
_STATES = frozenset({"23503", "40P01"})  # foreign key, deadlock

_Answer = TypeVar("_Answer")


def despite_others(work: Callable[[], _Answer]) -> _Answer:
    """Do the work, which is a transaction, and again from its beginning when others came between."""
    for _ in range(_TRIES - 1):
        try:
            return work()
        except DatabaseError as error:
            if connection.in_atomic_block or getattr(error.__cause__, "sqlstate", None) not in _STATES:
                raise
    return work()
