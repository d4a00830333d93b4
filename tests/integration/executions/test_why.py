"""Why an execution does not run, in each state (execution.md section 3, api.md 13.5)."""

from datetime import timedelta
from typing import Any

import pytest

from apps.core import clock
from apps.executions.models import Execution
from apps.executions.services import explain
from apps.executions.states import Status
from tests.factories import make_action, make_execution, make_identity, make_request, make_worker

pytestmark = pytest.mark.django_db


def codes(execution: Execution) -> list[str]:
    execution.refresh_from_db()
    return [reason["code"] for reason in explain(execution)["reasons"]]


def test_time_that_has_not_come() -> None:
    answer = explain(make_request(not_before=clock.now() + timedelta(hours=1)))

    (reason,) = answer["reasons"]
    assert (reason["code"], reason["details"]["until"]) == ("not_before", answer["next_check_at"])


@pytest.mark.parametrize(
    ("worker", "rejected_by"),
    [
        ({"worker_role": "sensor"}, "role"),
        ({"runtimes": ("python",)}, "runtime"),
        ({"capabilities": {"taints": [{"key": "k", "effect": "no_schedule"}]}}, "taint"),
        ({"cordoned": True}, "cordoned"),
        ({"draining": True}, "draining"),
        ({"lease_seconds": -1}, "offline"),
        ({"status": "inactive"}, "offline"),
    ],
)
def test_each_worker_says_which_demand_it_does_not_meet(worker: dict[str, Any], rejected_by: str) -> None:
    made = make_worker(**worker)

    (reason,) = explain(make_request())["reasons"]

    assert reason["code"] == "no_worker"
    assert reason["details"]["workers"] == [{"id": made.pk, "name": made.name, "rejected_by": rejected_by}]


def test_workers_that_are_full_and_others_that_are_before_it() -> None:
    worker = make_worker(slots=1)
    action = make_action()
    make_execution(status=Status.RUNNING, worker=worker)
    first, second = make_request(action=action), make_request(action=action)

    assert codes(first) == ["workers_busy"]
    assert codes(second) == ["workers_busy", "behind_others"]
    assert (explain(first)["position"], explain(second)["position"]) == (1, 2)


def test_dispatch_that_does_nothing() -> None:
    make_worker()
    execution = make_request()
    assert codes(execution) == ["behind_others"]

    Execution.objects.filter(pk=execution.pk).update(updated=clock.now() - timedelta(minutes=1))

    execution.refresh_from_db()
    reason = explain(execution)["reasons"][0]
    assert (reason["code"], reason["details"]["subsystem"]) == ("dispatch_paused", "dispatcher")
    assert reason["details"]["message"] == reason["message"]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (Status.SCHEDULING, "behind_others"),
        (Status.SCHEDULED, "handed_over"),
        (Status.RUNNING, "running"),
        (Status.CANCELING, "canceling"),
        (Status.COMPLETED, "finished"),
        (Status.FAILED, "finished"),
        (Status.CANCELLED, "finished"),
        (Status.TIMEOUT, "finished"),
        (Status.ABANDONED, "finished"),
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_every_other_state_has_its_reason(status: Status, code: str, known: bool) -> None:
    fields: dict[str, Any] = {"worker": make_worker(), "cancelled_by": make_identity()} if known else {}

    assert codes(make_execution(status=status, **fields)) == [code]
