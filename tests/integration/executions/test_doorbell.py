"""A shell beside the server rings it; the server never rings itself."""

import pytest

from apps.executions import doorbell, receivers, sweep
from apps.executions.doorbell import Doorbell, ring
from tests.processes import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def test_ring_is_answered_and_the_server_does_not_ring_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    answered: list[str] = []
    monkeypatch.setattr(sweep, "put_in_line", lambda: answered.append("put_in_line"))
    monkeypatch.setattr(receivers, "look_after_runs", ring)  # what a dispatch does in a process without a worker
    bell = Doorbell()
    assert bell.start()
    try:
        ring()
        assert answered == []
        doorbell._ring()  # as another process would
        doorbell._ring()
        wait_until(lambda: len(answered) == 2, what="two answers")
    finally:
        bell.close()
    assert answered == ["put_in_line", "put_in_line"]
    ring()  # nobody listens any more, and nothing is raised
