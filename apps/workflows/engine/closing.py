"""The end of a run: its execution, its row, its log (workflows.md sections 4.2, 9, 10)."""

from datetime import timedelta
from typing import Any

from apps.core import clock, sql
from apps.executions import storage
from apps.executions.artifacts import store_large_result
from apps.executions.dispatch import dispatch_on_commit
from apps.executions.log_versions import register_log
from apps.executions.models import Execution
from apps.executions.retries import is_repeated, repeat_after_end
from apps.executions.states import TERMINAL, Status
from apps.executions.transitions import Step, transition
from apps.keys import secret_store
from apps.keys.models import SecretSource
from apps.workflows.engine.book import Ending
from apps.workflows.engine.database import DatabaseBook
from apps.workflows.engine.ending import without_secrets_of_output
from apps.workflows.models import WorkflowLogLine

STREAM = "workflow"  # of the log: <action_ref>.workflow.log


def timed_out_text(seconds: float) -> str:
    return f"Execution timed out after {seconds:g} seconds"


def close(book: DatabaseBook, ending: Ending) -> None:
    """End the execution of a run in which nothing runs any more; one that was force-closed stays as it is."""
    execution = book.execution
    source = Status(execution.status)
    target = _target(source, ending)
    if target == Status.COMPLETED:
        book.log("INFO", "Workflow completed")
    else:
        book.log("WARN" if target == Status.CANCELLED else "ERROR", f"Workflow {target.value}: {ending.error}")
    book.flush()
    book.write(status=target.value, error_message=ending.error)
    _store_log(book, execution)
    if source not in TERMINAL:
        _end(execution, source, target, ending, book.snapshot.out_schema)


def _target(source: Status, ending: Ending) -> Status:
    """A run that is being cancelled is cancelled, however its last tasks ended."""
    if source in TERMINAL:
        return source
    return Status.CANCELLED if source == Status.CANCELING else Status(ending.status)


def _end(execution: Execution, source: Status, target: Status, ending: Ending, out_schema: Any) -> None:
    ran = clock.now() - execution.started_at if execution.started_at is not None else timedelta(0)
    columns: dict[str, Any] = {
        **_result_columns(execution, ending, out_schema),
        "succeeded": target == Status.COMPLETED,
        "duration_ms": max(0, int(ran.total_seconds() * 1000)),
    }
    if execution.workflow_task is not None and _by_its_task(execution, ending):
        columns["workflow_task"] = {**execution.workflow_task, "timed_out": True}
    step = Step(source=source, target=target, actor="workflow", reason=ending.error)
    ended = transition(execution, step, repeated=is_repeated(execution, target), **columns)
    assert ended, "its row is locked"
    repeat_after_end(execution)
    dispatch_on_commit()


def _by_its_task(execution: Execution, ending: Ending) -> bool:
    seconds = (execution.workflow_task or {}).get("timeout_seconds")
    return seconds is not None and ending.status == "failed" and ending.error == timed_out_text(seconds)


def _result_columns(execution: Execution, ending: Ending, out_schema: Any) -> dict[str, Any]:
    result, secrets = without_secrets_of_output(ending, out_schema)
    if secrets:
        secret_store.replace(
            secret_store.EXECUTION_RESULT,
            execution.pk,
            secrets,
            source_kind=SecretSource.RESULT,
            source_ref=execution.action_ref,
        )
    columns: dict[str, Any] = {"result": store_large_result(execution, result)}
    if execution.result_artifact_id is not None:
        columns |= {
            "result_size_bytes": execution.result_size_bytes,
            "result_artifact": execution.result_artifact_id,
        }
    return columns


def _store_log(book: DatabaseBook, execution: Execution) -> None:
    """Make the lines of the log a version of its artifact; the rows have done their duty then."""
    rows = sql.fetch(
        "SELECT created, level, text FROM workflow_log_line WHERE workflow_execution = %s ORDER BY id", [book.run.id]
    )
    lines = [
        f"{clock.as_text(sql.convert(WorkflowLogLine, 'created', at))} [{level}] {' '.join(text.splitlines())}\n"
        for at, level, text in rows
    ]
    content = "".join(lines).encode(errors="replace")
    name = f"execution_{execution.pk}/{STREAM}.log"
    storage.remove_file(name)  # of an attempt whose transaction was rolled back
    with storage.create_file(name) as file:
        file.write(content)
    register_log(execution, STREAM, len(content))
    WorkflowLogLine.objects.filter(workflow_execution=book.run.id).delete()


def definition_gone(execution: Execution) -> None:
    """Fail an execution whose workflow is not there any more."""
    cannot_begin(execution, f"Workflow '{execution.action_ref}' does not exist any more")


def cannot_begin(execution: Execution, error: str) -> None:
    """Fail an execution of a workflow that has no run."""
    ending = Ending(status="failed", result={"error": error, "succeeded": False, "failed_tasks": []}, error=error)
    _end(execution, Status(execution.status), Status.FAILED, ending, None)
