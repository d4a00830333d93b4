"""What callers may ask of workers and runtimes."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from django.db import transaction

from apps.core.errors import ConflictError, NotFound
from apps.core.fields import Now
from apps.identity.models import Identity
from apps.packs.models import Pack
from apps.workers import history
from apps.workers.models import Runtime, Worker
from apps.workers.signals import worker_available, worker_draining


class RuntimeExists(ConflictError):
    """A runtime with that ref exists"""


# --- Workers -----------------------------------------------------------------------------------------------------


@transaction.atomic
def cordon(worker: Worker, *, by: Identity | None, reason: str | None = None) -> Worker:
    """Give the worker no new work; what it has goes on. A worker that is cordoned keeps the newer reason."""
    fields: dict[str, Any] = {"cordoned": True, "cordon_reason": reason, "cordoned_by": by, "cordoned_at": Now()}
    history.change(worker, actor=_actor(by), reason=reason, **fields)
    return _reread(worker)


@transaction.atomic
def uncordon(worker: Worker, *, by: Identity | None) -> Worker:
    """Give the worker work again."""
    fields: dict[str, Any] = {"cordoned": False, "cordon_reason": None, "cordoned_by": None, "cordoned_at": None}
    if history.change(worker, actor=_actor(by), **fields):
        transaction.on_commit(partial(worker_available.send, sender=Worker, worker_id=worker.pk))
    return _reread(worker)


@transaction.atomic
def drain(worker: Worker, *, by: Identity | None, reason: str | None = None) -> Worker:
    """Cordon the worker and, after the commit, take back what it has not started."""
    drained = cordon(worker, by=by, reason=reason)
    # Not in this transaction: it holds the worker's row, which is locked after executions, never before.
    transaction.on_commit(partial(worker_draining.send, sender=Worker, worker=drained))
    return drained


def _actor(by: Identity | None) -> str:
    """Return how history names who asked; without an identity it was somebody at the shell."""
    return f"identity:{by.pk}" if by is not None else "system"


def _reread(worker: Worker) -> Worker:
    return Worker.objects.select_related("lease").get(pk=worker.pk)


# --- Runtimes ----------------------------------------------------------------------------------------------------


@transaction.atomic
def create_runtime(*, pack_ref: str | None = None, **fields: Any) -> Runtime:
    """Create a runtime. Raises NotFound for the pack, RuntimeExists, ValidationError for fields that break a rule."""
    pack = Pack.objects.filter(ref=pack_ref).first() if pack_ref is not None else None
    if pack_ref is not None and pack is None:
        raise NotFound(f"Pack '{pack_ref}' not found")
    if Runtime.objects.filter(ref=fields["ref"]).exists():
        raise RuntimeExists(f"Runtime '{fields['ref']}' already exists")
    runtime = Runtime(**fields, pack=pack, pack_ref=pack_ref)
    runtime.clean_fields(exclude=["pack"])
    runtime.save(force_insert=True)
    return runtime


def update_runtime(runtime: Runtime, changes: Mapping[str, Any]) -> Runtime:
    """Change some fields of a runtime."""
    for name, value in changes.items():
        setattr(runtime, name, value)
    runtime.clean_fields(exclude=["pack"])
    runtime.save(update_fields=[*changes, "updated"])
    return runtime
