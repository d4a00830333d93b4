"""Environment variables that no request may set, where no request can be refused (execution.md section 7)."""

from pathlib import Path

import pytest

from apps.executions.models import Execution, ExecutionHistory
from apps.executions.services import ExecutionRequest, request_execution
from apps.executions.states import TERMINAL, Status
from tests.factories import make_action, make_runtime
from tests.processes import wait_until


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("worker")
def test_they_are_left_out_and_the_history_says_so() -> None:
    action = make_action(entrypoint="env | sort", runtime=make_runtime(ref="core.shell"))
    config = {"env": {"PYTHONPATH": "/tmp/evil", "MINE": "1"}}
    execution = request_execution(
        ExecutionRequest(action=action, parameters=config, env_vars={"LD_PRELOAD": "/tmp/evil.so"})
    )

    wait_until(lambda: Execution.objects.get(pk=execution.pk).status in TERMINAL, what="the end")

    execution.refresh_from_db()
    assert (execution.status, execution.config) == (Status.COMPLETED, config)
    lines = Path(execution.result["stdout_log"]).read_text().splitlines()
    assert "MINE=1" in lines
    assert not [line for line in lines if "evil" in line]
    first = ExecutionHistory.objects.filter(entity_id=execution.pk).earliest("id")
    assert first.reason == "environment variables left out: PYTHONPATH, LD_PRELOAD"
