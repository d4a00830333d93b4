"""
``Idempotency-Key``: the first successful answer to a POST is given again (api.md 1.7).

The record is written in the transaction of the work it guards, so after a crash both exist or neither. A request that
still runs is no row but a lock: advisory on PostgreSQL, in the process on SQLite.
"""

import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from django.conf import settings
from django.core.files import File
from django.db import connection, transaction
from django.http.response import HttpResponseBase
from django.utils.datastructures import MultiValueDict
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder

from apps.core.cipher import CannotDecrypt, configured_cipher
from apps.core.errors import AttuneError, BadRequest, ConflictError

REPLAYED = "Idempotent-Replayed"


class KeyReused(AttuneError):
    """The Idempotency-Key was used for another request"""

    status, code = 422, "IDEMPOTENCY_KEY_REUSED"


class StillRunning(ConflictError):
    """A request with this Idempotency-Key is still running"""

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "1"})


class CannotReplay(ConflictError):
    """The request was done, but its answer was encrypted with a key that is gone; take another Idempotency-Key"""


@dataclass(frozen=True, kw_only=True)
class KeptAnswer:
    """The first answer to a request."""

    request_hash: str
    status: int
    body: Any


@dataclass(frozen=True, kw_only=True)
class Guard:
    """A key under which the first answer is kept. ``request_hash`` "": whatever the content of a repeat."""

    scope: str
    key: str
    request_hash: str
    at_least: timedelta = timedelta(0)  # kept for so long, even where answers usually are forgotten sooner


class Store(Protocol):
    """Where answers are kept; the identity app owns the table."""

    def find(self, scope: str, key: str) -> KeptAnswer | None: ...

    def keep(self, scope: str, key: str, answer: KeptAnswer, *, at_least: timedelta = timedelta(0)) -> None: ...


_stores: list[Store] = []


def use(store: Store) -> None:
    """Keep answers there; called once, when the apps are ready."""
    _stores[:] = [store]


def key_of(request: Request) -> str | None:
    """Return the request's key. Raises BadRequest for one that is none."""
    key = request.META.get("HTTP_IDEMPOTENCY_KEY")
    return None if key is None else checked_key(key)


def checked_key(key: str) -> str:
    """Return the key. Raises BadRequest for a text that is none."""
    if not 1 <= len(key) <= 255 or not all("\x21" <= character <= "\x7e" for character in key):
        raise BadRequest("Idempotency-Key must be 1 to 255 visible ASCII characters")
    return key


def request_hash(request: Request, *, keyed: bool = False) -> str:
    """
    Return the hash of what counts as the same request: JSON whatever its spacing and key order, a form with its files.

    ``keyed``: with a key of ours, so that nobody finds a password by trying.
    """
    digest = hmac.new(settings.SECRET_KEY.encode(), digestmod="sha256") if keyed else hashlib.sha256()
    digest.update(request.META.get("QUERY_STRING", "").encode())
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
        scope, secret = scope_of(view, request), view.operation in view.holds_secrets
        hashed = request_hash(request, keyed=secret)
        return answer_once(scope, key, hashed, lambda: handler(request, *args, **kwargs), secret=secret)

    return handle


def scope_of(view: Any, request: Request) -> str:
    """Return caller, method and path; a view may say otherwise in ``idempotency_scope()``."""
    own = getattr(view, "idempotency_scope", None)
    if own is not None:
        return str(own())
    scope = f"{getattr(request.auth, 'subject', 'anyone')} {request.method} {request.path}"
    return scope if len(scope) <= 512 else hashlib.sha256(scope.encode()).hexdigest()


def answer_once(
    scope: str, key: str, hashed: str, work: Callable[[], HttpResponseBase], *, secret: bool = False
) -> HttpResponseBase:
    """
    Do the work and keep its 2xx answer, encrypted when it is ``secret``, or give the kept one again.

    Raises KeyReused for another request under the same key, StillRunning while the first is at work.
    """
    guards = (Guard(scope=scope, key=key, request_hash=hashed),)
    with only_one(guards):
        kept = kept_answer(guards)
        if kept is not None:
            body = _opened(kept.body) if secret else kept.body
            return Response(body, status=kept.status, headers={REPLAYED: "true"})
        response = work()
        if isinstance(response, Response) and 200 <= response.status_code < 300:
            body = _sealed(response.data) if secret else response.data
            keep(guards, status=response.status_code, body=body)
        return response


def _sealed(body: Any) -> dict[str, str]:
    cipher = configured_cipher()
    return {"encrypted": cipher.encrypt(_plain(body)), "key_id": cipher.key_id}


def _opened(body: Any) -> Any:
    try:
        return configured_cipher().decrypt(body["encrypted"], body["key_id"])
    except CannotDecrypt:
        raise CannotReplay from None


@contextmanager
def only_one(guards: Sequence[Guard]) -> Iterator[None]:
    """A transaction that nobody else has under one of these keys. Raises StillRunning when somebody has."""
    names = sorted({f"{guard.scope}\n{guard.key}" for guard in guards})
    if connection.vendor == "postgresql":
        with transaction.atomic():
            for name in names:
                _lock_until_commit(name)
            yield
        return
    # Ahead of the transaction and beyond its commit: SQLite's one write lock would make the second request wait.
    with _alone_here(names), transaction.atomic():
        yield


def kept_answer(guards: Sequence[Guard]) -> KeptAnswer | None:
    """Return the answer kept under the first of the keys that has one. Raises KeyReused when it was to something else."""
    for guard in guards:
        kept = _stores[0].find(guard.scope, guard.key)
        if kept is not None:
            if guard.request_hash and kept.request_hash != guard.request_hash:
                raise KeyReused
            return kept
    return None


def keep(guards: Sequence[Guard], *, status: int, body: Any) -> None:
    """Keep an answer under all of the keys, in the transaction of ``only_one``."""
    plain = _plain(body)
    for guard in guards:
        answer = KeptAnswer(request_hash=guard.request_hash, status=status, body=plain)
        _stores[0].keep(guard.scope, guard.key, answer, at_least=guard.at_least)


def _plain(body: Any) -> Any:
    return json.loads(json.dumps(body, cls=JSONEncoder))


_running: set[str] = set()
_running_lock = threading.Lock()


@contextmanager
def _alone_here(names: Sequence[str]) -> Iterator[None]:
    with _running_lock:
        if not _running.isdisjoint(names):
            raise StillRunning
        _running.update(names)
    try:
        yield
    finally:
        with _running_lock:
            _running.difference_update(names)


def _lock_until_commit(name: str) -> None:
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
        (locked,) = cursor.fetchone()
    if not locked:
        raise StillRunning
