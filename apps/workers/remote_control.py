"""Talk to the worker processes beside the database: a broadcast that only rings, nothing depends on it."""

import logging
from typing import Any

from celery import current_app
from celery.worker.control import control_command

from apps.workers.runs import StopReason

logger = logging.getLogger(__name__)

STOP_RUN = "attune_stop_run"
_ACQUIRE_SECONDS = 1.0  # how long to wait for a free connection to the broker


def tell_worker(worker_id: int, execution_id: int, epoch: int, reason: StopReason) -> bool:
    """
    Tell a worker to stop a run; return False when the message could not be sent (the lease loop finds the row then).

    Never raises, and waits no longer than the broker's socket timeouts.
    """
    arguments = {"worker_id": worker_id, "execution_id": execution_id, "epoch": epoch, "reason": reason}
    app: Any = current_app  # the stubs know neither mailbox nor clock
    mailbox = app.control.mailbox
    message = {"method": STOP_RUN, "arguments": arguments, "destination": None, "pattern": None, "matcher": None}
    try:
        # Not control.broadcast: it tries without end while the broker is away.
        with app.producer_pool.acquire(block=True, timeout=_ACQUIRE_SECONDS) as producer:
            producer.publish(
                message,
                exchange=mailbox.exchange.name,
                declare=[mailbox.exchange],
                headers={"clock": app.clock.forward(), "expires": 0},
                serializer=mailbox.serializer,
                retry=False,
            )
    except Exception as error:  # whatever the broker's client raises
        logger.warning("Worker %s could not be told to stop execution %s: %s", worker_id, execution_id, error)
        return False
    return True


@control_command(
    name=STOP_RUN,
    args=[("worker_id", int), ("execution_id", int), ("epoch", int), ("reason", str)],
    signature="<worker_id> <execution_id> <epoch> <cancel|lost|superseded>",
)
def stop_run(
    state: Any, worker_id: int, execution_id: int, epoch: int, reason: StopReason, **_newer_arguments: Any
) -> dict[str, str]:
    """Stop a run when this process is that worker and runs the execution with that epoch."""
    from apps.workers.agent import current_agent  # this module is for callers without models too

    agent = current_agent()
    if agent is None or agent.worker_id != worker_id:
        return {"ok": "not mine"}
    if agent.runs.snapshot().get(execution_id) != epoch:
        return {"ok": "not running"}
    agent.stop_run(execution_id, reason)
    return {"ok": "stopping"}
