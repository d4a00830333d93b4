"""A dispatch that reaches nobody: what it would have told workers is kept."""

import pytest

from apps.executions import dispatch, publication


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int]]:
    """Let this process publish, and keep (worker, execution, epoch) of each doorbell instead of ringing it."""
    rung: list[tuple[int, int, int]] = []

    def keep(worker_id: int, execution_id: int, epoch: int) -> bool:
        rung.append((worker_id, execution_id, epoch))
        return True

    monkeypatch.setattr(dispatch, "can_publish", lambda: True)
    monkeypatch.setattr(dispatch, "publish", keep)
    monkeypatch.setattr(publication, "publish", keep)
    return rung
