"""Who may see workers and runtimes (auth.md section 5)."""

from typing import TYPE_CHECKING

from apps.identity.grants import Columns, Facts, condition, facts, narrowed
from apps.workers.models import Runtime, Worker

if TYPE_CHECKING:
    from django.db.models import Q, QuerySet

    from apps.identity.callers import Caller

WORKER_COLUMNS = Columns(refs="name")
RUNTIME_COLUMNS = Columns(refs="ref", pack_refs="pack_ref")


def visible_workers(caller: "Caller") -> "QuerySet[Worker]":
    """Return the workers that the caller may see, by name, with their leases."""
    workers = Worker.objects.select_related("lease").order_by("name")
    return narrowed(workers, readable_workers(caller))


def readable_workers(caller: "Caller") -> "Q":
    """Return the condition of the workers that the caller may see."""
    return condition(caller, "workers:read", WORKER_COLUMNS)


def visible_runtimes(caller: "Caller") -> "QuerySet[Runtime]":
    """Return the runtimes that the caller may see, by ref."""
    return narrowed(Runtime.objects.order_by("ref"), readable_runtimes(caller))


def readable_runtimes(caller: "Caller") -> "Q":
    """Return the condition of the runtimes that the caller may see."""
    return condition(caller, "runtimes:read", RUNTIME_COLUMNS)


def describe() -> None:
    """Tell the checks of grants what they look at; call once the apps are ready."""
    facts.register(Worker, lambda row: Facts(id=row.pk, ref=row.name), resource="workers", lookup="name")
    facts.register(Runtime, lambda row: Facts(id=row.pk, ref=row.ref, pack_ref=row.pack_ref), resource="runtimes")
