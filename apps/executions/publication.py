"""Tell a worker that an execution is its own now; the message is a doorbell, the row is the queue."""

import logging

from celery import current_app
from celery.utils import uuid
from django.conf import settings

from apps.workers.agent import current_agent
from apps.workers.queue_names import queue_of

logger = logging.getLogger(__name__)

TASK_NAME = "attune.run_execution"

# What Celery's send_task would publish, without what nobody here uses of it: version 2 of its task protocol
# (docs.celeryq.dev, "Message Protocol"). Building the rest took longer than the database takes to dispatch.
_HEADERS = {
    "lang": "py", "task": TASK_NAME, "parent_id": None, "group": None, "eta": None, "expires": None, "retries": 0,
    "timelimit": [None, None], "argsrepr": "()", "kwargsrepr": "{}", "ignore_result": True, "shadow": None,
}  # fmt: skip
_NO_CALLBACKS = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
_LONGEST_WAIT_SECONDS = 5.0  # for a free connection to the broker


def can_publish() -> bool:
    """Return False in a process whose broker ends in itself and that has no worker: a shell beside the server."""
    return not settings.CELERY_BROKER_URL.startswith("memory:") or current_agent() is not None


def publish(worker_id: int, execution_id: int, epoch: int) -> bool:
    """Announce an execution to its worker; a failure is logged and made good by the sweep."""
    try:
        with current_app.producer_pool.acquire(block=True, timeout=_LONGEST_WAIT_SECONDS) as producer:
            producer.publish(
                ([], {"execution_id": execution_id, "epoch": epoch}, _NO_CALLBACKS),
                exchange="",
                routing_key=queue_of(worker_id),
                serializer="json",
                correlation_id=(message_id := uuid()),
                headers={**_HEADERS, "id": message_id, "root_id": message_id},
                delivery_mode=1,
                retry=False,
            )
    except Exception as error:  # whatever the broker's client raises: nothing depends on this message
        logger.warning("Execution %s could not be announced to worker %s: %s", execution_id, worker_id, error)
        return False
    return True
