"""What a worker process says of itself when it registers (execution.md section 5)."""

import os
import socket
from typing import Any

from django.conf import settings

from apps.workers.capabilities import detect
from apps.workers.models import WorkerStatus


def describe(*, slots: int) -> dict[str, Any]:
    """Return the fields of the worker's row; runs the commands that find out which runtimes are installed."""
    return {
        "worker_type": settings.WORKER_TYPE,
        "host": socket.gethostname(),
        "port": None,
        "status": WorkerStatus.ACTIVE,
        "capabilities": detect(slots=slots),
    }


def default_name() -> str:
    """Return the name of this process's worker when its start names none."""
    return settings.WORKER_NAME or f"worker-{os.getpid()}"
