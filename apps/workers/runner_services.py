"""What all runs of one worker process share: the guard, the templates, the reaper of orphans, a private directory."""

import os
import shutil
import tempfile
from pathlib import Path

from apps.workers.environment import inherited
from apps.workers.guard import Guard
from apps.workers.orphans import Orphans
from apps.workers.run_marks import RunMark
from apps.workers.runtimes.warm import TemplatePool


class RunnerServices:
    """
    One per worker process: ``start()`` before the first run, ``close()`` after the last.

    ``guarded=False`` leaves out the process that kills the runs when the worker is gone; for tests and tools.
    ``time_zone`` is the TZ that programs get, None for none.
    """

    def __init__(self, *, guarded: bool = True, time_zone: str | None = None) -> None:
        self.orphans = Orphans()
        self.templates = TemplatePool()
        self.guard = Guard() if guarded else None
        self.inherited: dict[str, str] = {}
        self.directory = Path()
        self._time_zone = time_zone
        self._programs: dict[tuple[str, str], str] = {}

    def start(self) -> None:
        """Make the private directory, become the parent of orphans, start the guard."""
        self.inherited = inherited(os.environ, time_zone=self._time_zone)
        self.directory = Path(tempfile.mkdtemp(prefix="attune-worker-"))
        self.orphans.start()
        if self.guard:
            self.guard.start(self.directory)

    def close(self) -> None:
        """End templates and guard and remove the private directory. Runs must have ended."""
        self.templates.close()
        if self.guard:
            self.guard.close()
        self.orphans.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def guard_add(self, run: RunMark) -> None:
        if self.guard:
            self.guard.add(run)

    def guard_expect(self, marks: tuple[str, ...]) -> int:
        """Have what bears these marks killed when the worker is gone, from before its start; see ``Guard.expect``."""
        return self.guard.expect(RunMark.now(marks)) if self.guard else 0

    def guard_forget(self, place: int) -> None:
        if self.guard:
            self.guard.forget(place)

    def guard_remove(self, run: RunMark) -> None:
        if self.guard:
            self.guard.remove(run)

    def find_program(self, name: str, search_path: str) -> str:
        """Return the path of an executable as a shell would find it, empty when there is none."""
        key = (name, search_path)
        known = self._programs.get(key, "")
        if known and os.access(known, os.X_OK):
            return known
        self._programs[key] = found = shutil.which(name, path=search_path) or ""
        return found
