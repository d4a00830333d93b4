"""
Django's SQLite, where the threads of this process take turns at writing.

SQLite itself lets a writer that finds another one sleep and try again, a little longer each time: among 20 writers
some wait for seconds while others pass by. A lock in the process wakes exactly one, at once. Other processes (a shell
beside the server) are kept apart by SQLite as ever.
"""

import threading
from typing import Any

from django.db.backends.sqlite3 import base

# Whoever waits longer goes on without a turn and leaves it to SQLite's own timeout to say that something is wrong.
_PATIENCE_SECONDS = 30

_turn = threading.Lock()


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that holds the turn from the beginning of a transaction to its end."""

    _has_turn = False

    def _start_transaction_under_autocommit(self) -> None:
        self._has_turn = _turn.acquire(timeout=_PATIENCE_SECONDS)
        try:
            super()._start_transaction_under_autocommit()  # type: ignore[misc]  # not in the stubs
        except BaseException:
            self._give_turn()
            raise

    def _commit(self) -> Any:
        super()._commit()  # type: ignore[misc]  # not in the stubs; who asked rolls a failed one back
        self._give_turn()

    def _rollback(self) -> Any:
        try:
            return super()._rollback()  # type: ignore[misc]  # not in the stubs
        finally:
            self._give_turn()

    def _close(self) -> Any:
        try:
            return super()._close()  # type: ignore[misc]  # not in the stubs
        finally:
            self._give_turn()

    def _give_turn(self) -> None:
        if self._has_turn:
            self._has_turn = False
            _turn.release()
