"""Executions from the request to the kept result, on a live worker (execution.md sections 1, 8, 11, 15, 16)."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction

from apps.actions.models import Action
from apps.executions.models import Artifact, ArtifactVersion, Execution, ExecutionHistory
from apps.executions.publication import publish
from apps.executions.services import (
    ExecutionRequest,
    cancel_execution,
    explain,
    force_close_execution,
    request_execution,
)
from apps.executions.states import TERMINAL, Status
from apps.packs.models import Pack
from apps.workers.agent import current_agent
from apps.workers.models import Runtime
from tests.factories import make_action, make_identity, make_runtime
from tests.processes import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("worker")]


def ended(execution: Execution, timeout_seconds: float = 30.0) -> Execution:
    """Return the execution once it has ended."""

    def look() -> bool:
        execution.refresh_from_db()
        return execution.status in TERMINAL

    wait_until(look, timeout_seconds=timeout_seconds, what=f"the end of {execution}")
    return execution


def running(execution: Execution) -> Execution:
    wait_until(lambda: Execution.objects.filter(pk=execution.pk, status=Status.RUNNING).exists(), what="the start")
    execution.refresh_from_db()
    return execution


def shell(entrypoint: str, **fields: Any) -> Action:
    return make_action(entrypoint=entrypoint, runtime=make_runtime(ref="core.shell"), **fields)


def run(action: Action, **request: Any) -> Execution:
    return ended(request_execution(ExecutionRequest(action=action, **request)))


def steps_of(execution: Execution) -> list[str]:
    rows = ExecutionHistory.objects.filter(entity_id=execution.pk).order_by("id")
    return [row.new_values["status"] for row in rows]


def nothing_is_left() -> None:
    """No run holds a slot any more."""
    agent = current_agent()
    assert agent is not None
    assert agent.runs.wait_empty(timeout=10)


def test_core_echo_ends_with_result_log_and_history() -> None:
    execution = run(Action.objects.get(ref="core.echo"), parameters={"message": "hello, world"})

    log = Path(settings.ARTIFACTS_DIR) / f"execution_{execution.pk}" / "stdout.log"
    assert execution.status == Status.COMPLETED
    assert execution.result == {
        "exit_code": 0,
        "succeeded": True,
        "duration_ms": execution.duration_ms,
        "stdout": "hello, world\n",
        "stdout_log": str(log),
    }
    assert log.read_text() == "hello, world\n"
    assert steps_of(execution) == ["requested", "scheduling", "scheduled", "running", "completed"]
    assert (execution.exit_code, execution.succeeded, execution.epoch) == (0, True, 1)
    assert execution.started_at is not None
    assert execution.finished_at == execution.updated


def test_log_is_an_artifact_version_and_versions_count_up() -> None:
    action = shell("echo out; echo err >&2")
    first, second = run(action), run(action)

    artifact = Artifact.objects.get(ref=f"{action.ref}.stdout.log")
    versions = list(ArtifactVersion.objects.filter(artifact=artifact).order_by("version").values_list(
        "version", "execution", "size_bytes", "file_path"))  # fmt: skip
    assert (artifact.scope, artifact.owner, artifact.type) == ("action", action.ref, "file_text")
    assert (artifact.retention_policy, artifact.retention_limit, artifact.size_bytes) == ("days", 7, 4)
    assert versions == [
        (1, first.pk, 4, f"execution_{first.pk}/stdout.log"),
        (2, second.pk, 4, f"execution_{second.pk}/stdout.log"),
    ]


def test_logs_are_kept_to_the_number_that_the_action_says() -> None:
    action = shell("echo out", log_retention_policy="versions", log_retention_limit=2)
    runs = [run(action) for _ in range(3)]

    versions = ArtifactVersion.objects.filter(artifact__ref=f"{action.ref}.stdout.log").order_by("version")
    assert list(versions.values_list("version", "execution")) == [(2, runs[1].pk), (3, runs[2].pk)]
    gone, *kept = [Path(execution.result["stdout_log"]) for execution in runs]
    wait_until(lambda: not gone.exists(), what="the end of the first log")  # files go after the commit
    assert [log.exists() for log in kept] == [True, True]
    assert [execution.result["stdout"] for execution in runs] == ["out\n"] * 3


def test_inline_python_result_and_exception() -> None:
    python = Runtime.objects.get(ref="core.python")
    double = make_action(entrypoint='def run(n): return {"double": n * 2}', runtime=python)
    raises = make_action(entrypoint='def run():\n    raise ValueError("no such host")', runtime=python)

    good, bad = run(double, parameters={"n": 21}), run(raises)

    assert good.result["data"] == {"double": 42}
    assert (bad.status, bad.result["error"]) == (Status.FAILED, "ValueError: no such host")
    assert "Traceback" in Path(bad.result["stderr_log"]).read_text()


def test_exit_code_and_signal_are_told() -> None:
    three, killed = run(shell("echo partial; exit 3")), run(shell("echo partial; kill -KILL $$"))

    assert (three.status, three.exit_code, three.result["stdout"]) == (Status.FAILED, 3, "partial\n")
    assert three.result["error"] == "Command exited with code 3"
    assert (killed.exit_code, killed.result["signal"], killed.result["stdout"]) == (-1, "SIGKILL", "partial\n")
    assert steps_of(three)[-1] == "failed"


def test_time_limit_of_the_request_wins_and_keeps_the_output() -> None:
    execution = run(shell("echo begun; sleep 60", timeout_seconds=50), timeout_seconds=1)

    assert (execution.status, execution.exit_code) == (Status.TIMEOUT, -1)
    assert execution.result["error"] == "Execution timed out after 1 seconds"
    assert execution.result["stdout"] == "begun\n"
    nothing_is_left()


def test_schema_defaults_reach_the_process_and_config_stays_as_sent() -> None:
    action = shell('echo "$greeting $name"', param_schema={"greeting": {"type": "string", "default": "hi"}})

    execution = run(action, parameters={"name": "$(id) 'x'\n"})

    assert execution.result["stdout"] == "hi $(id) 'x'\n\n"
    assert execution.config == {"name": "$(id) 'x'\n"}


def test_runtime_that_no_worker_has_is_named_with_those_there_are() -> None:
    ruby = make_runtime(ref="lab.ruby", name="ruby-of-nobody")

    execution = run(make_action(runtime=ruby))

    assert execution.status == Status.FAILED
    assert "ruby-of-nobody (available: " in execution.result["message"]
    assert "shell" in execution.result["message"]


def test_missing_file_of_a_pack_action_fails_with_the_reason(core_pack: Pack) -> None:
    action = make_action(
        pack=core_pack, entrypoint="gone.py", is_adhoc=False, runtime=Runtime.objects.get(ref="core.python")
    )

    execution = run(action)

    assert execution.status == Status.FAILED
    assert execution.result == {
        "succeeded": False,
        "error": f"No executable content found for action '{action.ref}': gone.py",
    }


def test_action_that_was_deleted_before_the_start_is_named(caplog: pytest.LogCaptureFixture) -> None:
    action = shell("echo never")
    with transaction.atomic():
        execution = request_execution(ExecutionRequest(action=action))
        action.delete()

    assert ended(execution).status == Status.FAILED
    assert execution.result is not None
    assert f"The action '{execution.action_ref}' no longer exists" in execution.result["error"]
    assert "Traceback" not in caplog.text


def test_cancel_of_a_running_execution_leaves_no_process() -> None:
    execution = running(request_execution(ExecutionRequest(action=shell("echo $$; exec sleep 60"))))
    log = Path(settings.ARTIFACTS_DIR) / f"execution_{execution.pk}" / "stdout.log"
    wait_until(lambda: log.exists() and log.read_text().strip(), what="the first output")
    pid = int(log.read_text())

    cancel_execution(execution.pk, by=make_identity())

    ended(execution, timeout_seconds=3)
    assert execution.status == Status.CANCELLED
    assert execution.result["error"] == "Execution cancelled by user"
    assert (execution.result["cancelled"], execution.result["succeeded"]) == (True, False)
    assert not os.path.exists(f"/proc/{pid}")
    assert steps_of(execution)[-2:] == ["canceling", "cancelled"]
    nothing_is_left()


def test_force_close_kills_the_run_and_refuses_its_late_result() -> None:
    execution = running(request_execution(ExecutionRequest(action=shell("sleep 60; echo late"))))

    force_close_execution(execution.pk, by=make_identity(login="anna"))

    nothing_is_left()
    execution.refresh_from_db()
    assert (execution.status, execution.epoch) == (Status.ABANDONED, 2)
    assert execution.result["error"] == "Execution force-closed by anna"


def test_message_that_comes_twice_runs_once() -> None:
    execution = running(request_execution(ExecutionRequest(action=shell("sleep 0.3; echo once"))))
    assert execution.worker_id is not None

    for _ in range(5):
        publish(execution.worker_id, execution.pk, execution.epoch)
    ended(execution)
    publish(execution.worker_id, execution.pk, execution.epoch)
    run(shell("true"))  # by now the last message has been looked at

    assert steps_of(execution) == ["requested", "scheduling", "scheduled", "running", "completed"]
    assert Path(execution.result["stdout_log"]).read_text() == "once\n"


def test_many_executions_on_few_slots() -> None:
    agent = current_agent()
    assert agent is not None
    action = shell('printf "%s" "$number"')
    most = 0
    stop = threading.Event()

    def watch() -> None:
        nonlocal most
        while not stop.wait(0.005):
            most = max(most, len(agent.runs))

    watcher = threading.Thread(target=watch)
    watcher.start()
    executions = [
        request_execution(ExecutionRequest(action=action, parameters={"number": str(number)})) for number in range(200)
    ]
    for execution in executions:
        ended(execution, timeout_seconds=90)
    stop.set()
    watcher.join()

    assert [execution.result.get("stdout") for execution in executions] == [str(number) for number in range(200)]
    assert 1 < most <= agent.slots
    nothing_is_left()


def test_engine_repeats_what_failed_up_to_its_limit() -> None:
    action = shell("exit 1", max_retries=1)

    first = run(action)
    second = ended(Execution.objects.get(retry_of=first), timeout_seconds=10)

    assert (second.attempt, second.retry_count, second.retry_reason) == (2, 1, "transient_error")
    assert second.not_before is not None
    assert second.started_at >= second.not_before
    assert 0.8 <= (second.not_before - first.finished_at).total_seconds() <= 1.3
    assert not Execution.objects.filter(retry_of=second).exists()
    created = ExecutionHistory.objects.get(entity_id=second.pk, operation="INSERT")
    assert "retry_at" in created.new_values


def test_result_over_64_kib_is_stored_as_an_artifact() -> None:
    python = Runtime.objects.get(ref="core.python")
    action = make_action(entrypoint='def run(): return {"text": "x" * 200_000}', runtime=python)

    execution = run(action)

    reference = execution.result["data"]["$attune_artifact"]
    assert set(reference) == {"id", "version", "size_bytes"}
    assert execution.result_size_bytes > 200_000
    assert execution.result["succeeded"] is True


def test_environment_holds_what_the_page_names_and_nothing_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD_OF_THE_SERVER", "leaked")
    execution = run(shell("env | sort"), env_vars={"MY_FLAG": "1"})

    names = {line.split("=")[0] for line in Path(execution.result["stdout_log"]).read_text().splitlines()}
    assert {"ATTUNE_EXECUTION_ID", "ATTUNE_EXEC_ID", "ATTUNE_ACTION", "ATTUNE_API_URL", "MY_FLAG", "PATH"} <= names
    assert not {"DATABASE_PASSWORD_OF_THE_SERVER", "ATTUNE_API_TOKEN", "DJANGO_SETTINGS_MODULE"} & names


def test_token_is_given_only_with_permission_sets() -> None:
    execution = run(shell('test -n "$ATTUNE_API_TOKEN"'), permission_set_refs=["core.admin"])

    assert execution.status == Status.COMPLETED


def test_why_of_a_running_and_an_ended_execution() -> None:
    execution = running(request_execution(ExecutionRequest(action=shell("sleep 60"))))
    assert [reason["code"] for reason in explain(execution)["reasons"]] == ["running"]
    cancel_execution(execution.pk, by=None)
    answer = explain(ended(execution))

    assert (answer["status"], answer["reasons"][0]["details"]["ended_by"]) == ("cancelled", "user")
