"""The table of transitions, held to the page that defines it (execution.md section 1)."""

from apps.executions.states import PENDING, TERMINAL, TRANSITIONS, UNFINISHED, Status, may_go, sources_of


def test_every_status_has_a_row_and_terminal_ones_never_change() -> None:
    assert set(TRANSITIONS) == set(Status)
    assert all(not TRANSITIONS[status] for status in TERMINAL)


def test_every_unfinished_status_can_be_force_closed() -> None:
    for status in UNFINISHED - {Status.CANCELING}:
        assert TRANSITIONS[status] >= {Status.ABANDONED, Status.FAILED, Status.CANCELLED}
    assert may_go(Status.CANCELING, Status.CANCELLED)


def test_only_a_claim_or_the_workflow_engine_starts_a_run() -> None:
    assert sources_of(Status.RUNNING) == {Status.SCHEDULED, Status.SCHEDULING}


def test_a_cancel_before_the_claim_is_immediate_and_after_it_goes_through_canceling() -> None:
    assert all(may_go(status, Status.CANCELLED) for status in PENDING)
    assert sources_of(Status.CANCELING) == {Status.RUNNING}


def test_nothing_that_ended_or_is_being_cancelled_goes_back_in_line() -> None:
    assert sources_of(Status.REQUESTED) == {Status.SCHEDULING, Status.SCHEDULED}
