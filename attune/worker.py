"""The worker of ``celery -A attune worker``."""

from typing import Any

from celery.apps.worker import Worker as CeleryWorker

# Workers know of each other through their leases. Gossip and mingle would only cost a queue and a message of every
# worker to every other one; Celery's own heartbeats go to monitors nobody runs.
QUIET = {"without_gossip": True, "without_mingle": True, "without_heartbeat": True}


class Worker(CeleryWorker):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, **QUIET})
