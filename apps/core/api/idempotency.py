"""
``Idempotency-Key``: the first successful answer to a POST is given again (api.md 1.7).

The record is written in the transaction of the work it guards, so after a crash both exist or neither. A request that
still runs is no row but a lock: advisory on PostgreSQL, in the process on SQLite.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from django.core.files import File
from django.db import connection, transaction
from django.http.response import HttpResponseBase
from django.utils.datastructures import MultiValueDict
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder

from apps.core.errors import AttuneError, BadRequest, ConflictError

REPLAYED = "Idempotent-Replayed"


class KeyReused(AttuneError):
    """The Idempotency-Key was used for another request"""

    status, code = 422, "IDEMPOTENCY_KEY_REUSED"


class StillRunning(ConflictError):
    """A request with this Idempotency-Key is still running"""

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "1"})


@dataclass(frozen=True, kw_only=True)
class KeptAnswer:
    """The first answer to a request."""

    request_hash: str
    status: int
    body: Any


class Store(Protocol):
    """Where answers are kept; the identity app owns the table."""

    def find(self, scope: str, key: str) -> KeptAnswer | None: ...

    def keep(self, scope: str, key: str, answer: KeptAnswer) -> None: ...


_stores: list[Store] = []


def use(store: Store) -> None:
    """Keep answers there; called once, when the apps are ready."""
    _stores[:] = [store]


def key_of(request: Request) -> str | None:
    """Return the request's key. Raises BadRequest for one that is none."""
    key = request.META.get("HTTP_IDEMPOTENCY_KEY")
    if key is None:
        return None
    if not 1 <= len(key) <= 255 or not all("\x21" <= character <= "\x7e" for character in key):
        raise BadRequest("Idempotency-Key must be 1 to 255 visible ASCII characters")
    return str(key)


def request_hash(request: Request) -> str:
    """Return the hash of what counts as the same request: JSON whatever its spacing and key order, a form with its files."""
    digest = hashlib.sha256(request.META.get("QUERY_STRING", "").encode())
    for part in _parts(request.data):
        digest.update(part)
    return digest.hexdigest()


def _parts(data: Any) -> Iterator[bytes]:
    if not isinstance(data, MultiValueDict):
        yield json.dumps(data, sort_keys=True, separators=(",", ":")).encode()
        return
    for name, values in sorted(data.lists()):
        for value in values:
            is_file = isinstance(value, File)
            # Lengths ahead of what they measure: no two forms look alike in one row of bytes.
            yield json.dumps([name, value.name if is_file else value, value.size if is_file else None]).encode()
            if is_file:
                yield from value.chunks()
                value.seek(0)


def guarded(view: Any, handler: Callable[..., HttpResponseBase], key: str) -> Callable[..., HttpResponseBase]:
    """Return the handler, answering from the store when the key was used before."""

    def handle(request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
        scope = scope_of(view, request)
        return answer_once(scope, key, request_hash(request), lambda: handler(request, *args, **kwargs))

    return handle


def scope_of(view: Any, request: Request) -> str:
    """Return caller, method and path; a view may say otherwise in ``idempotency_scope()``."""
    own = getattr(view, "idempotency_scope", None)
    if own is not None:
        return str(own())
    scope = f"{getattr(request.auth, 'subject', 'anyone')} {request.method} {request.path}"
    return scope if len(scope) <= 512 else hashlib.sha256(scope.encode()).hexdigest()


def answer_once(scope: str, key: str, hashed: str, work: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    """
    Do the work and keep its 2xx answer, or give the kept one again.

    Raises KeyReused for another request under the same key, StillRunning while the first is at work.
    """
    with _only_one(f"{scope}\n{key}"):
        store = _stores[0]
        kept = store.find(scope, key)
        if kept is not None:
            if kept.request_hash != hashed:
                raise KeyReused
            return Response(kept.body, status=kept.status, headers={REPLAYED: "true"})
        response = work()
        if isinstance(response, Response) and 200 <= response.status_code < 300:
            body = json.loads(json.dumps(response.data, cls=JSONEncoder))
            store.keep(scope, key, KeptAnswer(request_hash=hashed, status=response.status_code, body=body))
        return response


_running: set[str] = set()
_running_lock = threading.Lock()


@contextmanager
def _only_one(name: str) -> Iterator[None]:
    """A transaction that nobody else has under this name. Raises StillRunning when somebody has."""
    if connection.vendor == "postgresql":
        with transaction.atomic():
            _lock_until_commit(name)
            yield
        return
    # Ahead of the transaction and beyond its commit: SQLite's one write lock would make the second request wait.
    with _running_lock:
        if name in _running:
            raise StillRunning
        _running.add(name)
    try:
        with transaction.atomic():
            yield
    finally:
        with _running_lock:
            _running.discard(name)


def _lock_until_commit(name: str) -> None:
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
        (locked,) = cursor.fetchone()
    if not locked:
        raise StillRunning
