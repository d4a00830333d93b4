"""What a worker process is running just now."""

import threading
from dataclasses import dataclass
from typing import Literal, Protocol

StopReason = Literal["cancel", "lost", "superseded"]


class Control(Protocol):
    """What the registry needs of the control of one run (jobs.RunControl)."""

    def stop(self, reason: StopReason) -> None: ...

    def kill(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run: the epoch it was claimed with, and how to stop it."""

    epoch: int
    control: Control


class RunRegistry:
    """The runs of this process by execution id; any thread may use it."""

    def __init__(self) -> None:
        self._runs: dict[int, Run] = {}
        self._changed = threading.Condition()

    def add(self, execution_id: int, epoch: int, control: Control) -> bool:
        """Enter a run; return False when this process runs that execution already (its message came twice)."""
        with self._changed:
            if execution_id in self._runs:
                return False
            self._runs[execution_id] = Run(epoch=epoch, control=control)
            return True

    def remove(self, execution_id: int) -> None:
        """Take a run out: its processes are gone and its result is written, or never will be."""
        with self._changed:
            self._runs.pop(execution_id, None)
            self._changed.notify_all()

    def snapshot(self) -> dict[int, int]:
        """Return {execution id: epoch} of what runs just now."""
        with self._changed:
            return {execution_id: run.epoch for execution_id, run in self._runs.items()}

    def __len__(self) -> int:
        with self._changed:
            return len(self._runs)

    def stop(self, execution_id: int, reason: StopReason) -> bool:
        """Stop one run (SIGTERM, grace, SIGKILL); return False when this process does not run that execution."""
        with self._changed:
            run = self._runs.get(execution_id)
        if run is None:
            return False
        run.control.stop(reason)
        return True

    def stop_all(self, reason: StopReason) -> None:
        """Stop every run (SIGTERM, grace, SIGKILL)."""
        for run in self._controls():
            run.control.stop(reason)

    def kill_all(self) -> None:
        """Kill the processes of every run now."""
        for run in self._controls():
            run.control.stop("lost")  # first, so that the run knows why it ended
            run.control.kill()

    def wait_empty(self, timeout: float | None = None) -> bool:
        """Wait until nothing runs; return False when something still does after ``timeout`` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._runs, timeout)

    def _controls(self) -> list[Run]:
        with self._changed:
            return list(self._runs.values())
