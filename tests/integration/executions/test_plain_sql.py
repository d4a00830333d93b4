"""What an operator does with plain SQL (model.md sections 1.3 and 8.1)."""

from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from apps.executions import sweep
from apps.executions.models import Execution, ExecutionHistory
from apps.executions.states import TERMINAL, Status
from tests.factories import make_action, make_execution, make_runtime, make_worker
from tests.processes import wait_until


def by_operator(text: str, parameters: list[Any]) -> list[Any]:
    """Run a statement on a connection that does not say it is the product's; return what it gives back."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET attune.origin = ''")
        cursor.execute(text, parameters)
        found = cursor.fetchall() if cursor.description else []
        if connection.vendor == "postgresql":
            cursor.execute("SET attune.origin = 'attune'")
    return found


@pytest.mark.django_db
def test_row_that_names_no_column_with_a_default_has_the_defaults() -> None:
    ((pk,),) = by_operator("INSERT INTO execution (action_ref) VALUES (%s) RETURNING id", ["a.b"])

    execution = Execution.objects.get(pk=pk)
    assert (execution.status, execution.epoch, execution.attempt, execution.priority) == ("requested", 0, 1, 0)
    assert (execution.permission_set_refs, execution.limits, execution.held, execution.pinned) == (
        [],
        {},
        False,
        False,
    )
    assert (execution.on_worker_lost, execution.max_lost_attempts) == ("abandon", 2)
    assert (execution.retry_count, execution.lost_count, execution.depth) == (0, 0, 0)
    assert execution.correlation_id is not None
    nullable = {field.attname for field in Execution._meta.concrete_fields if field.null}
    assert {name for name in nullable if getattr(execution, name) is not None} == set()


@pytest.mark.django_db
def test_empty_object_in_a_list_reads_as_an_empty_list() -> None:
    execution = make_execution()
    by_operator(
        "UPDATE execution SET permission_set_refs = '{}', worker_tolerations = '{}' WHERE id = %s", [execution.pk]
    )

    execution.refresh_from_db()

    assert (execution.permission_set_refs, execution.worker_tolerations) == ([], [])


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("worker")
def test_inserted_row_is_run_by_the_next_sweep() -> None:
    action = make_action(entrypoint="echo $name", runtime=make_runtime(ref="core.shell"))
    ((pk,),) = by_operator(
        "INSERT INTO execution (action, action_ref, config) VALUES (%s, %s, %s) RETURNING id",
        [action.pk, action.ref, '{"name": "sql"}'],
    )

    sweep.sweep()
    wait_until(lambda: Execution.objects.get(pk=pk).status in TERMINAL, what="the end")

    execution = Execution.objects.get(pk=pk)
    assert execution.result is not None
    assert (execution.status, execution.result["stdout"]) == (Status.COMPLETED, "sql\n")
    assert Path(execution.result["stdout_log"]).read_text() == "sql\n"


@pytest.mark.django_db
@pytest.mark.parametrize("source", Status.values)
@pytest.mark.parametrize("target", ["requested", "failed"])
def test_any_status_can_be_repaired_and_is_in_the_history_once(source: str, target: str) -> None:
    execution = make_execution(status=source, worker=make_worker())

    by_operator("UPDATE execution SET status = %s WHERE id = %s", [target, execution.pk])

    execution.refresh_from_db()
    rows = list(
        ExecutionHistory.objects.filter(entity_id=execution.pk).values_list("actor", "old_values", "new_values")
    )
    told = [("sql", {"status": source}, {"status": target})]
    assert execution.status == target
    assert rows == (told if connection.vendor == "postgresql" and source != target else [])


@pytest.mark.django_db
@pytest.mark.parametrize(
    "wrong", ["timeout_seconds = 0", "timeout_seconds = 604801", "max_retries = 101", "max_lost_attempts = 0"]
)
def test_ranges_of_an_action_hold_in_the_database_too(wrong: str) -> None:
    action = make_action()
    with pytest.raises(IntegrityError), transaction.atomic():
        by_operator(f"UPDATE action SET {wrong} WHERE id = %s", [action.pk])
