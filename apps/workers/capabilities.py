"""What a worker can offer: runtimes and their versions, found by their verification commands, labels, taints, slots."""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import re2
from django.conf import settings
from django.db.models import QuerySet

from apps.core.fields import Now
from apps.workers import process
from apps.workers.control import RunControl
from apps.workers.environment import inherited
from apps.workers.environments import built_here
from apps.workers.models import Runtime, RuntimeVersion
from apps.workers.runner_services import RunnerServices
from apps.workers.versions import parse_version, satisfies

logger = logging.getLogger(__name__)

VERIFICATION_SECONDS = 10.0  # packs.md section 7
_AT_ONCE = 4
_MOST_OUTPUT_BYTES = 64 * 1024
_VERSION = re2.compile(r"\d+(?:\.\d+){1,3}[0-9A-Za-z.\-+]*")


@dataclass(frozen=True)
class Check:
    """One verification command."""

    binary: str
    args: tuple[str, ...] = ()
    exit_code: int = 0
    pattern: str = ""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a verification command found: a program and its version, as far as its output tells."""

    path: str
    version: str


@dataclass(kw_only=True)
class Offered:
    """One runtime this worker offers."""

    name: str
    versions: list[str] = field(default_factory=list)
    interpreters: list[dict[str, str]] = field(default_factory=list)


Answers = dict[Check, Finding | None]


def detect(*, slots: int, services: RunnerServices) -> dict[str, Any]:
    """
    Return the ``capabilities`` of this process's worker, and note in the database which versions are there.

    The names come from the settings where they name some, else from what the verification commands of all runtimes
    find; the commands run either way, since they tell the versions. Each command runs once.
    """
    runtimes = list(Runtime.objects.prefetch_related("versions").order_by("ref"))
    answers = _ask(_all_checks(runtimes), services)
    offered = _offered(runtimes, answers)
    _note_versions(runtimes, {found.name: found.versions for found in offered})
    return {
        "runtimes": [found.name for found in offered],
        "runtime_versions": {found.name: found.versions for found in offered if found.versions},
        "detected_interpreters": [entry for found in offered for entry in found.interpreters],
        "max_concurrent_executions": slots,
        "worker_version": settings.ATTUNE_VERSION,
        "labels": settings.WORKER_LABELS,
        "taints": settings.WORKER_TAINTS,
        "health": {"status": "healthy", "queue_depth": 0},
        "agent_mode": False,
        "environments": built_here(),
    }


def offered_name(runtime: Runtime) -> str:
    """Return the name a worker offers a runtime by: the last part of its ref when that is a name of it."""
    short = runtime.ref.rpartition(".")[2].lower()
    return short if short in runtime.names else runtime.name.lower()


# --- Which runtimes ----------------------------------------------------------------------------------------------


def _offered(runtimes: Sequence[Runtime], answers: Answers) -> list[Offered]:
    named = settings.WORKER_RUNTIMES
    if named is None:
        found = [_found(runtime, offered_name(runtime), answers) for runtime in runtimes]
        return [entry for entry in found if entry is not None]
    by_name = {name: runtime for runtime in reversed(runtimes) for name in runtime.names}
    offered = []
    for name in dict.fromkeys(entry.lower() for entry in named):
        known = _found(by_name[name], name, answers) if name in by_name else None
        offered.append(known or Offered(name=name))
    return offered


def _found(runtime: Runtime, name: str, answers: Answers) -> Offered | None:
    """Return the runtime as this worker offers it, or None when nothing of it was found here."""
    offered = Offered(name=name)
    always = _verification(runtime.distributions).get("always_available") is True
    for distributions in (runtime.distributions, *(version.distributions for version in runtime.versions.all())):
        for check in _checks(distributions):
            finding = answers.get(check)
            if finding is not None:
                _add(offered, finding)
    if not always and not offered.interpreters:
        return None
    offered.versions.sort(key=_by_number)
    return offered


def _add(offered: Offered, finding: Finding) -> None:
    entry = {"name": offered.name, "path": finding.path, "version": finding.version}
    if entry not in offered.interpreters:
        offered.interpreters.append(entry)
    if finding.version and finding.version not in offered.versions:
        offered.versions.append(finding.version)


def _by_number(version: str) -> Any:
    parsed = parse_version(version)
    return parsed.key if parsed is not None else (-1, 0, 0, 0, ())


def _note_versions(runtimes: Sequence[Runtime], found: Mapping[str, list[str]]) -> None:
    """
    Note which versions have been seen on a worker, and when.

    Never that one has not: another worker may have it, and what each has stands in its own capabilities.
    """
    for runtime in runtimes:
        offered = {version for name in runtime.names for version in found.get(name, ())}
        there = [row.pk for row in runtime.versions.all() if any(satisfies(one, row.version) for one in offered)]
        rows: QuerySet[RuntimeVersion] = RuntimeVersion.objects.filter(pk__in=there)
        if there:
            rows.update(available=True, verified_at=Now())


# --- Verification commands ---------------------------------------------------------------------------------------


def _verification(distributions: Any) -> Mapping[str, Any]:
    found = distributions.get("verification") if isinstance(distributions, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _checks(distributions: Any) -> list[Check]:
    """Return the verification commands, lowest priority number first; entries that are no commands are left out."""
    commands = _verification(distributions).get("commands")
    entries = [entry for entry in commands if isinstance(entry, Mapping)] if isinstance(commands, list) else []
    entries.sort(key=lambda entry: _number(entry.get("priority"), 100))
    return [
        Check(
            binary=str(entry["binary"]),
            args=tuple(str(word) for word in entry.get("args") or ()),
            exit_code=_number(entry.get("exit_code"), 0),
            pattern=str(entry.get("pattern") or ""),
        )
        for entry in entries
        if entry.get("binary")
    ]


def _number(value: Any, default: int) -> int:
    return value if isinstance(value, int) else default


def _all_checks(runtimes: Sequence[Runtime]) -> list[Check]:
    wanted: dict[Check, None] = {}
    for runtime in runtimes:
        for distributions in (runtime.distributions, *(version.distributions for version in runtime.versions.all())):
            wanted.update(dict.fromkeys(_checks(distributions)))
    return list(wanted)


def _ask(checks: Iterable[Check], services: RunnerServices) -> Answers:
    """Run the commands, each (program and arguments) once, several at a time."""
    wanted = list(checks)
    commands = list(dict.fromkeys((check.binary, check.args) for check in wanted))
    with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="verification") as pool:
        ran = dict(
            zip(commands, pool.map(lambda command: _run(command[0], command[1], services), commands), strict=True)
        )
    return {check: _judge(check, ran[check.binary, check.args]) for check in wanted}


def _run(binary: str, args: tuple[str, ...], services: RunnerServices) -> tuple[str, int, str] | None:
    """Return path, exit code and output of a program, None when it is not there or does not end in time."""
    variables = inherited(os.environ, time_zone=settings.TZ_OF_THIS_HOST)
    path = services.find_program(binary, variables["PATH"])
    if not path:
        return None
    command = process.Command(
        argv=(path, *args),
        env=variables,
        directory="/",
        timeout_seconds=VERIFICATION_SECONDS,
        kill_grace_seconds=1,
        stdout_limit=_MOST_OUTPUT_BYTES,
        stderr_limit=_MOST_OUTPUT_BYTES,
    )
    try:
        ended = process.run(command, RunControl(), services)
    except process.CannotStart as error:
        logger.info("%s", error)
        return None
    if ended.reason is not None:
        logger.warning("%s %s did not end within %g seconds", path, " ".join(args), VERIFICATION_SECONDS)
        return None
    output = ended.stdout.content() + b"\n" + ended.stderr.content()  # java and old Pythons tell it on stderr
    return path, ended.returncode, output.decode(errors="replace")


def _judge(check: Check, ran: tuple[str, int, str] | None) -> Finding | None:
    if ran is None:
        return None
    path, exit_code, output = ran
    if exit_code != check.exit_code:
        return None
    if not check.pattern:
        found = _VERSION.search(output)
        return Finding(path=path, version=found[0] if found else "")
    try:
        match = re2.search(check.pattern, output)
    except re2.error:
        logger.warning("The verification of %s has a pattern that is none: %s", check.binary, check.pattern)
        return None
    if match is None:
        return None
    version = match[1] if match.groups() and match[1] else match[0]
    return Finding(path=path, version=version if parse_version(version) else "")
