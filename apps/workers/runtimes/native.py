"""Native: the file itself is executed."""

import os

from apps.workers.job_spec import JobError
from apps.workers.runtimes.base import Preparation, Program, Runtime


class Native(Runtime):
    names = frozenset({"native", "builtin", "standalone"})

    def plain_program(self, preparation: Preparation) -> Program:
        file = preparation.entry.file
        if not os.access(file, os.X_OK):
            raise JobError(f"Cannot start {file}: not executable")
        return Program(argv=(file,))

    def _interpreter(self, preparation: Preparation) -> str:
        return ""
