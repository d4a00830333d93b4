"""Jobs for the process runner, and a look at the processes of this machine."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from apps.workers.jobs import Job, JobReport, RunControl, RunnerServices, RuntimeSpec, run_job

_ids = itertools.count(1)
OFFERED = ("shell", "python", "nodejs", "native")


def make_job(entrypoint: str, directory: Path, *, runtime: RuntimeSpec | str | None = "shell", **fields: Any) -> Job:
    """Return an ad-hoc job; everything that it writes lies below ``directory``."""
    execution_id = next(_ids)
    values: dict[str, Any] = {
        "execution_id": execution_id,
        "action_ref": "lab.probe",
        "pack_ref": "lab",
        "is_adhoc": True,
        "entrypoint": entrypoint,
        "runtime": RuntimeSpec(name=runtime) if isinstance(runtime, str) else runtime,
        "available_runtimes": OFFERED,
        "pack_dir": None,
        "env_dir": None,
        "parameters": {},
        "timeout_seconds": 30,
        "attune_env": {"ATTUNE_ARTIFACTS_DIR": str(directory)},
        "log_dir": directory / f"execution_{execution_id}",
    }
    return Job(**{**values, **fields})


def make_pack_dir(directory: Path, files: dict[str, str]) -> Path:
    """Write the files of a pack, executable all of them, and return its directory."""
    pack_dir = directory / "lab"
    for name, text in files.items():
        path = pack_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    return pack_dir


def run(job: Job, services: RunnerServices, control: RunControl | None = None) -> JobReport:
    return run_job(job, control or RunControl(), services)


def log_of(job: Job, stream: str = "stdout") -> bytes:
    """Return what is in a log file, nothing when there is none."""
    path = job.log_dir / f"{stream}.log"
    return path.read_bytes() if path.exists() else b""


def processes_with(text: str) -> list[int]:
    """Return the processes, zombies left out, that have ``text`` among their arguments or in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            content = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if text.encode() in content:
            found.append(int(entry.name))
    return found


def is_alive(pid: int) -> bool:
    """Return True while a process of that number exists that has not ended."""
    return state_of(pid) not in ("", "Z", "X")


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[0]
    except OSError:
        return ""


def children(pid: int) -> Sequence[int]:
    """Return the children of a process, those of all its threads."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(word) for word in (task / "children").read_text().split()]
    return found
