"""The process runner's own fixtures."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.workers.jobs import RunnerServices
from tests.programs import children, processes_with


@pytest.fixture
def services(tmp_path: Path) -> Iterator[RunnerServices]:
    """What runs share, without a guard; nothing of a run may be left after the test."""
    before = set(children(os.getpid()))
    services = RunnerServices(guarded=False)
    services.start()
    yield services
    private = services.directory
    left = list(private.iterdir())
    services.close()
    assert left == []
    assert processes_with(f"ATTUNE_ARTIFACTS_DIR={tmp_path}") == []
    assert set(children(os.getpid())) - before == set()
    assert not private.exists()
