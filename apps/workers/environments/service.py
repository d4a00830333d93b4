"""
The environments of packs (packs.md section 8): found for a run, built on first use or when a pack was registered.

A run asks for its environment and gets the resolved folder. What exists and is in step costs a few ``stat`` calls; the
database is touched only when something is built.
"""

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import Error, close_old_connections

from apps.packs.models import Pack
from apps.packs.services import pack_directory
from apps.workers import process
from apps.workers.control import RunControl
from apps.workers.environment import inherited
from apps.workers.environments import build, rows
from apps.workers.environments.plan import Plan, plan_of
from apps.workers.models import EnvironmentStatus, Runtime, RuntimeVersion
from apps.workers.runner_services import RunnerServices
from apps.workers.signals import environment_built
from apps.workers.specs import laid_over, runtime_spec

logger = logging.getLogger(__name__)

_REMEMBER_SECONDS = 10.0  # a runtime's configuration that a pack brings is used after so long at the latest

_Signature = tuple[Any, ...]

_lock = threading.Lock()
_configs: dict[tuple[Any, ...], tuple[float, Mapping[str, Any]]] = {}
_ready: dict[tuple[int, int, str], tuple[_Signature, Path]] = {}
_controls: set[RunControl] = set()
_stopped = threading.Event()  # this process's worker stops: nothing is built any more
_services: RunnerServices | None = None


def use_services(services: RunnerServices | None) -> None:
    """Build with these services of the process from now on; the agent says so at its start and its end."""
    global _services
    _services = services
    _stopped.clear()


def ready_environment(
    pack: Pack, runtime: Runtime, version: str | None, *, called_off: Callable[[], bool] = lambda: False
) -> Path | None:
    """
    Return the folder a run of this pack uses, built first when it is missing or out of date; None: it needs none.

    Waits for a build, one at a time per environment. After a failed build it returns what is there: the environment
    before it, or None. ``called_off`` ends the wait for somebody else's build.
    """
    plan = _plan(pack, runtime, version)
    if plan is None:
        return None
    signature = _signature(plan)
    known = _ready.get((pack.pk, runtime.pk, plan.version))
    if known is not None and known[0] == signature and (known[1] / build.MARK).is_file():
        return known[1]
    try:
        return _ensure(pack, runtime, plan, called_off)
    except build.GivenUp:
        return build.current(plan)
    except OSError as error:
        logger.error("The environment %s of pack %s cannot be made: %s", plan.label, pack.ref, error)
        return build.current(plan)


def build_environments(pack: Pack, capabilities: Mapping[str, Any]) -> None:
    """Build what this pack needs for the runtimes this worker offers, as a run without a version would ask for it."""
    for runtime in Runtime.objects.prefetch_related("versions"):
        spec = runtime_spec(runtime, None, capabilities)
        if runtime.names & _offered(capabilities):
            ready_environment(pack, runtime, spec.version)


def rebuild(pack: Pack, runtime: Runtime, version: str | None) -> Path | None:
    """Build the environment again at once, whatever failed before; the environment that is there stays until then."""
    plan = _plan(pack, runtime, version)
    if plan is None:
        return None
    with build.locked(plan):
        build.forget_failures(plan)
        built = _build(pack, runtime, plan, plan.checksum())
    return None if built.error else built.directory


def remove_environments(pack_ref: str) -> None:
    """Remove all environments of a pack that is gone."""
    shutil.rmtree(settings.RUNTIME_ENVS_DIR / pack_ref, ignore_errors=True)
    with _lock:
        _ready.clear()


def stop_builds() -> None:
    """End the builds of this process: its worker stops."""
    _stopped.set()
    with _lock:
        controls = list(_controls)
    for control in controls:
        control.stop("lost")


def built_here() -> dict[str, str]:
    """Return {"<pack>/<runtime>[-<version>]": checksum} of what this machine has, for the worker's capabilities."""
    found = {}
    for link in sorted(Path(settings.RUNTIME_ENVS_DIR).glob("*/*")):
        if link.is_symlink() and (link / build.MARK).is_file():
            found[f"{link.parent.name}/{link.name}"] = link.resolve().name.rpartition("-")[2]
    return found


# --- How ---------------------------------------------------------------------------------------------------------


def _plan(pack: Pack, runtime: Runtime, version: str | None) -> Plan | None:
    return plan_of(
        pack_ref=pack.ref,
        pack_dir=pack_directory(pack),
        runtime_name=runtime.name,
        version=version,
        config=_config(runtime, version),
        root=Path(settings.RUNTIME_ENVS_DIR),
    )


def _config(runtime: Runtime, version: str | None) -> Mapping[str, Any]:
    """Return the runtime's configuration with that of the version laid over it."""
    if not version:
        return runtime.execution_config or {}
    key = (runtime.pk, runtime.updated, version)
    known = _configs.get(key)
    if known is not None and time.monotonic() - known[0] < _REMEMBER_SECONDS:
        return known[1]
    row = RuntimeVersion.objects.filter(runtime=runtime.pk, version=version).first()
    config = laid_over(runtime.execution_config or {}, row.execution_config if row is not None else {})
    if len(_configs) > 1000:
        _configs.clear()
    _configs[key] = (time.monotonic(), config)
    return config


def _signature(plan: Plan) -> _Signature:
    """Return what tells cheaply that nothing has changed since."""
    return (plan, *(_stat(file) for file in plan.inputs))


def _stat(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _ensure(pack: Pack, runtime: Runtime, plan: Plan, called_off: Callable[[], bool]) -> Path | None:
    """Return the environment, built if need be; the second to come finds what the first has built."""
    with build.locked(plan, called_off=called_off):
        signature = _signature(plan)
        checksum = plan.checksum()
        directory = build.finished(plan, checksum)
        if directory is not None and _works(plan, directory):
            if build.current(plan) != directory:
                build.switch(plan, directory)
                _note(partial(rows.note_ready, pack, runtime, plan.version, plan.link, checksum))
        elif time.time() < build.retry_at(plan, checksum):
            return build.current(plan)
        else:
            built = _build(pack, runtime, plan, checksum)
            if built.error:
                return build.current(plan)
            directory = built.directory
        with _lock:
            _ready[(pack.pk, runtime.pk, plan.version)] = (signature, directory)
        return directory


def _works(plan: Plan, directory: Path) -> bool:
    """Return False when the environment's interpreter no longer starts (its base was replaced); asked once."""
    interpreter = plan.interpreter_in(directory)
    if interpreter is None or plan.env_type != "virtualenv":
        return True
    command = process.Command(
        argv=(str(interpreter), "-I", "-c", ""), env=_variables(), directory=str(directory), timeout_seconds=30
    )
    try:
        with _running() as run:
            return run(command).returncode == 0
    except process.CannotStart:
        return False


def _build(pack: Pack, runtime: Runtime, plan: Plan, checksum: str) -> build.Built:
    """Build, and let people see it: status, last lines, log."""
    logger.info("Building the environment %s of pack %s", plan.label, pack.ref)
    _note(partial(rows.note_wanted, pack, runtime, plan.version, plan.link, checksum))
    status = partial(rows.note, pack, runtime, plan.version, plan.link)
    _note(partial(status, EnvironmentStatus.INSTALLING))
    with _running() as run:
        tools = build.Tools(
            run=run,
            variables=_variables(),
            timeout_seconds=settings.BUILD_TIMEOUT_SECONDS,
            kill_grace_seconds=settings.KILL_GRACE_SECONDS,
        )
        built = build.build(plan, checksum, tools)
    if built.error:
        logger.error("The environment %s of pack %s could not be built: %s", plan.label, pack.ref, built.error)
        _note(partial(status, EnvironmentStatus.FAILED, manifest_checksum=checksum, last_error=built.error))
    else:
        _note(partial(rows.note_ready, pack, runtime, plan.version, plan.link, checksum))
    _note(partial(_send_built, pack, runtime, plan, built))
    return built


def _send_built(pack: Pack, runtime: Runtime, plan: Plan, built: build.Built) -> None:
    arguments = {"pack": pack, "runtime": runtime, "version": plan.version, "log": built.log}
    for receiver, answer in environment_built.send_robust(sender=Pack, succeeded=not built.error, **arguments):
        if isinstance(answer, Exception):
            logger.error("%r failed after a build", receiver, exc_info=answer)


@contextmanager
def _running() -> Iterator[build.Run]:
    """Give the way to run a command with this process's services, such that ``stop_builds`` can end it."""
    if _services is not None:
        yield partial(_run, _services)
        return
    # A management command or a test, not a worker.
    own = RunnerServices(guarded=False, time_zone=settings.TZ_OF_THIS_HOST)
    own.start()
    try:
        yield partial(_run, own)
    finally:
        own.close()


def _run(services: RunnerServices, command: process.Command) -> process.Ended:
    control = RunControl()
    with _lock:
        _controls.add(control)
    try:
        if _stopped.is_set():
            raise process.CannotStart("The worker stops")
        return process.run(command, control, services)
    finally:
        with _lock:
            _controls.discard(control)


def _variables() -> dict[str, str]:
    """Return the environment of a build: the allow-list, and what the operator named in ATTUNE_BUILD_ENV."""
    named = {name: os.environ[name] for name in settings.BUILD_ENV_NAMES if name in os.environ}
    return {**inherited(os.environ, time_zone=settings.TZ_OF_THIS_HOST), **named}


def _offered(capabilities: Mapping[str, Any]) -> frozenset[str]:
    names = (entry.get("name", "") if isinstance(entry, Mapping) else entry for entry in capabilities["runtimes"])
    return frozenset(str(name).lower() for name in names)


def _note(write: Callable[[], None]) -> None:
    """Write what people see of a build; a database that is away must not fail it. Holds no connection afterwards."""
    try:
        write()
    except Error as error:
        logger.warning("The status of an environment could not be written: %s", error)
    finally:
        close_old_connections()
