"""What a worker can offer: runtimes and their versions, labels, taints, slots."""

from typing import Any

from django.conf import settings


def detect(*, slots: int) -> dict[str, Any]:
    """Return the ``capabilities`` of this process's worker."""
    runtimes = [name.lower() for name in settings.WORKER_RUNTIMES or ("shell", "python", "nodejs", "native")]
    return {
        "runtimes": runtimes,
        "runtime_versions": {},
        "detected_interpreters": [],
        "max_concurrent_executions": slots,
        "worker_version": settings.ATTUNE_VERSION,
        "labels": settings.WORKER_LABELS,
        "taints": settings.WORKER_TAINTS,
        "health": {"status": "healthy", "queue_depth": 0},
        "agent_mode": False,
    }
