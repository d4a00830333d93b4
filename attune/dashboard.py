"""The numbers of the console's first page; every query is bounded, whatever the tables hold."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from apps.core.admin import COUNT_LIMIT
from apps.executions.dispatch import active_counts
from apps.executions.models import Execution
from apps.executions.offers import DEFAULT_SLOTS
from apps.executions.states import TERMINAL, Status
from apps.executions.visibility import visible_to
from apps.identity.callers import Caller
from apps.identity.grants import narrowed, under
from apps.inquiries.visibility import answerable
from apps.packs.models import Pack
from apps.packs.visibility import readable as readable_packs
from apps.workers.health import health_state
from apps.workers.models import EnvironmentStatus, PackEnvironment
from apps.workers.visibility import visible_workers

WINDOW = 1000  # the newest executions that "recently" means, as in GET /executions/stats
TROUBLE = (Status.FAILED, Status.TIMEOUT, Status.ABANDONED)
SHOWN_WORKERS = 20
LIGHT = ("id", "action_ref", "status", "created", "duration_ms", "exit_code", "worker__name", "worker_id")


@dataclass(frozen=True, kw_only=True)
class Share:
    """How many of the newest executions have one status."""

    status: str
    count: int
    percent: float


def _newest(rows: "QuerySet[Execution]", count: int) -> list[Execution]:
    return list(rows.select_related("worker").only(*LIGHT).order_by("-created", "-id")[:count])


def _counted(rows: "QuerySet[Any]") -> str:
    count = rows.order_by().values("pk")[: COUNT_LIMIT + 1].count()
    return f"{COUNT_LIMIT:,}+" if count > COUNT_LIMIT else f"{count:,}"


def _shares(visible: "QuerySet[Execution]") -> list[Share]:
    newest = Counter(visible.order_by("-created", "-id").values_list("status", flat=True)[:WINDOW])
    total = sum(newest.values()) or 1
    return [
        Share(status=status, count=newest[status], percent=100 * newest[status] / total)
        for status in Status
        if newest[status]
    ]


def _trouble(visible: "QuerySet[Execution]", count: int) -> list[Execution]:
    """Return the newest that went wrong; one query per status, because each has its index and a mix has none."""
    found = [row for status in TROUBLE for row in _newest(visible.filter(status=status), count)]
    return sorted(found, key=lambda row: (row.created, row.pk), reverse=True)[:count]


def _workers(caller: Caller) -> list[dict[str, Any]]:
    running = active_counts()
    return [
        {
            "worker": worker,
            "health": health_state(worker, total_active=running[worker.pk]),
            "running": running[worker.pk],
            "slots": (worker.capabilities or {}).get("max_concurrent_executions", DEFAULT_SLOTS),
        }
        for worker in visible_workers(caller)[:SHOWN_WORKERS]
    ]


def overview(caller: Caller) -> dict[str, Any]:
    """Return what the first page shows to this reader."""
    visible = visible_to(caller)
    shares = _shares(visible)
    ended = {share.status: share.count for share in shares if share.status in TERMINAL}
    oldest = visible.filter(status=Status.REQUESTED).order_by("created", "id").only("id", "created").first()
    return {
        "waiting": _counted(visible.filter(status=Status.REQUESTED)),
        "oldest_waiting": oldest,
        "running": _counted(visible.on_worker()),
        "questions": _counted(answerable(caller)),
        "shares": shares,
        "window": sum(share.count for share in shares),
        "ended": sum(ended.values()),
        "gone_wrong": sum(ended.get(status, 0) for status in TROUBLE),
        "newest": _newest(visible, 10),
        "trouble": _trouble(visible, 6),
        "workers": _workers(caller),
        "shows_workers": caller.allows("workers:read"),
        "broken_environments": list(
            narrowed(PackEnvironment.objects.all(), under("pack", Pack.objects.all(), readable_packs(caller)))
            .filter(status=EnvironmentStatus.FAILED)
            .order_by("pack_ref", "runtime_ref")[:5]
        ),
    }
