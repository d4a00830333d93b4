"""The roles on their own, as on several machines: workers and schedulers as processes on PostgreSQL and Redis."""

import signal
import time

import pytest

from apps.actions.models import Action
from apps.executions.models import Execution
from apps.executions.requests import ExecutionRequest, request_execution
from apps.packs.models import Pack
from apps.workers.models import Worker
from tests.processes import Process, Processes, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]


def started(worker: Process) -> Process:
    worker.wait_for(r"is registered as \d+")
    return worker


def ended(execution: Execution) -> str | None:
    execution.refresh_from_db()
    return execution.status if execution.finished_at else None


def echo(message: str) -> Execution:
    action = Action.objects.get(ref="core.echo")
    return request_execution(ExecutionRequest(action=action, parameters={"message": message}))


def test_worker_and_scheduler_run_what_another_process_asked_for(processes: Processes, core_pack: Pack) -> None:
    scheduler = processes.scheduler()
    started(processes.worker("one"))

    executions = [echo(f"hello {number}") for number in range(5)]

    statuses = [wait_until(lambda execution=execution: ended(execution), what="its end") for execution in executions]
    assert statuses == ["completed"] * 5
    assert [execution.result["stdout"] for execution in executions] == [f"hello {number}\n" for number in range(5)]
    assert scheduler.alive


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_worker_stops_in_good_order(processes: Processes, core_pack: Pack, number: int) -> None:
    worker = started(processes.worker("one"))
    began = time.monotonic()

    worker.send(number)

    assert worker.wait() == 0
    assert time.monotonic() - began < 40
    assert "Traceback" not in worker.output()
    row = Worker.objects.get(name="one")
    assert (row.status, row.draining) == ("inactive", False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_any_number_of_schedulers_run_and_stop_at_once(processes: Processes, core_pack: Pack, number: int) -> None:
    schedulers = [processes.scheduler() for _ in range(2)]
    for scheduler in schedulers:
        scheduler.wait_for("The scheduler runs")
    began = time.monotonic()

    for scheduler in schedulers:
        scheduler.send(number)

    assert [scheduler.wait() for scheduler in schedulers] == [0, 0]
    assert time.monotonic() - began < 40
    assert [scheduler.output().count("Traceback") for scheduler in schedulers] == [0, 0]
