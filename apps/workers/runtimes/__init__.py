"""How each kind of program is started; a runtime is found by its name or an alias, never guessed when one is named."""

import os

from apps.workers.job_spec import Job, JobError
from apps.workers.runtimes.base import Runtime, offered, pack_file
from apps.workers.runtimes.generic import Generic
from apps.workers.runtimes.native import Native
from apps.workers.runtimes.nodejs import NodeJs
from apps.workers.runtimes.python import Python
from apps.workers.runtimes.shell import Shell

RUNTIMES: tuple[Runtime, ...] = (Shell(), Python(), NodeJs(), Native())
_BY_NAME = {name: runtime for runtime in RUNTIMES for name in runtime.names}
_BY_EXTENSION = {".py": "python", ".sh": "shell", ".js": "nodejs"}


def runtime_for(job: Job) -> Runtime:
    """Return the runtime that runs this job. Raises JobError when this worker does not offer it."""
    names = job.runtime.names if job.runtime else frozenset({_judged_by_entry_point(job)})
    available = {name.lower() for name in job.available_runtimes}
    found = next((_BY_NAME[name] for name in sorted(names) if name in _BY_NAME), None)
    if not available & (names if job.runtime or not found else found.names):
        name = job.runtime.name if job.runtime else min(names)
        raise JobError(f"Runtime '{name}' not found (available: {offered(job)})")
    return found or Generic()


def _judged_by_entry_point(job: Job) -> str:
    """Return the runtime's name for an action that names none."""
    word = job.entrypoint.strip()
    extension = os.path.splitext(word.partition(":")[0])[1]
    if extension in _BY_EXTENSION:
        return _BY_EXTENSION[extension]
    file = pack_file(job, word)
    if file and os.access(file, os.X_OK):
        return "native"
    raise JobError(f"No runtime found for action: {job.action_ref}")
