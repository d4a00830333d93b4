"""Celery entry points: load by id, call one function."""

import logging
from typing import Any

from celery import shared_task

from apps.executions import runner
from apps.executions.publication import TASK_NAME
from apps.workers.agent import current_agent

logger = logging.getLogger(__name__)


@shared_task(name=TASK_NAME)
def run_execution(*, execution_id: int, epoch: int, **_newer_arguments: Any) -> None:
    """Run an execution that was handed to this worker; may be called twice unharmed."""
    agent = current_agent()
    if agent is None:
        logger.error(
            "Execution %s came to a process without a worker agent; the sweep announces it again", execution_id
        )
        return
    runner.run(execution_id, epoch, agent)
