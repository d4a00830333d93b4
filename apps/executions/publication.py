"""Tell a worker that an execution is its own now; the message is a doorbell, the row is the queue."""

import logging

from celery import current_app
from django.conf import settings

from apps.workers.agent import current_agent

logger = logging.getLogger(__name__)

TASK_NAME = "attune.run_execution"


def queue_of(worker_id: int) -> str:
    """Return the name of a worker's own queue."""
    return f"worker.{worker_id}.executions"


def can_publish() -> bool:
    """Return False in a process whose broker ends in itself and that has no worker: a shell beside the server."""
    return not settings.CELERY_BROKER_URL.startswith("memory:") or current_agent() is not None


def publish(worker_id: int, execution_id: int, epoch: int) -> bool:
    """Announce an execution to its worker; a failure is logged and made good by the sweep."""
    try:
        current_app.send_task(
            TASK_NAME,
            kwargs={"execution_id": execution_id, "epoch": epoch},
            queue=queue_of(worker_id),
            ignore_result=True,
            retry=False,
        )
    except Exception as error:  # whatever the broker's client raises: nothing depends on this message
        logger.warning("Execution %s could not be announced to worker %s: %s", execution_id, worker_id, error)
        return False
    return True
