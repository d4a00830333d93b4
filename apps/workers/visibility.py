"""Who may see workers and runtimes (auth.md section 5): whoever holds the read grant sees all of them."""

from typing import TYPE_CHECKING

from apps.workers.models import Runtime, Worker

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from apps.identity.callers import Caller


def visible_workers(caller: "Caller") -> "QuerySet[Worker]":
    """Return the workers that the caller may see, by name, with their leases."""
    workers = Worker.objects.select_related("lease").order_by("name")
    return workers if caller.allows("workers:read") else workers.none()


def visible_runtimes(caller: "Caller") -> "QuerySet[Runtime]":
    """Return the runtimes that the caller may see, by ref."""
    runtimes = Runtime.objects.order_by("ref")
    return runtimes if caller.allows("runtimes:read") else runtimes.none()
