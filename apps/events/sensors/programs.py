"""What is started for a sensor: its file through its runtime, in the environment of events.md section 11."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from apps.events.sensors.variables import Surroundings, TooManyRules, sensor_variables, triggers_variable
from apps.events.sensors.wanted import Wanted
from apps.identity import sensor_tokens
from apps.packs.services import pack_directory
from apps.workers.agent import WorkerAgent
from apps.workers.commands import CannotStart, Command
from apps.workers.environments import ready_environment
from apps.workers.fitness import read_capabilities
from apps.workers.job_spec import Job, JobError, RuntimeSpec
from apps.workers.limits import NO_LIMITS
from apps.workers.runtimes import runtime_for
from apps.workers.runtimes.base import Entry, Preparation
from apps.workers.specs import runtime_spec
from apps.workers.workplace import Workplace

SENSORS_FOLDER = "sensors"


@dataclass(frozen=True, kw_only=True)
class _Found:
    """Where things are on this machine."""

    pack_dir: Path
    file: str
    spec: RuntimeSpec
    env_dir: Path | None


def command_of(wanted: Wanted, agent: WorkerAgent, *, called_off: Callable[[], bool]) -> Command:
    """
    Return what to start for a sensor, with a fresh token; builds the pack's environment first when it is missing.

    Raises CannotStart, in words. ``called_off`` ends the wait for a build that somebody else makes.
    """
    sensor = wanted.sensor
    found = _find(wanted, agent, called_off)
    try:
        rules = triggers_variable(wanted.rules, follows_changes=sensor.hot_reload)
        argv, environment = _program(wanted, found, agent)
    except (JobError, TooManyRules) as error:
        raise CannotStart(str(error)) from error
    token = sensor_tokens.issue(sensor.ref, wanted.trigger_refs).token
    told = Surroundings(
        api_url=settings.PUBLIC_API_URL,
        artifacts_dir=str(settings.ARTIFACTS_DIR),
        log_level=settings.LOG_LEVEL,
    )
    own = sensor_variables(
        sensor_id=sensor.pk, sensor_ref=sensor.ref, token=token, config=sensor.config, surroundings=told
    )
    return Command(
        argv=argv,
        env={**environment, **own, "ATTUNE_SENSOR_TRIGGERS": rules},
        directory=str(found.pack_dir),
        timeout_seconds=None,
        kill_grace_seconds=settings.KILL_GRACE_SECONDS,
        # The token is new with each start, so nobody else ever has both.
        marks=(f"ATTUNE_SENSOR_ID={sensor.pk}", f"ATTUNE_API_TOKEN={token}"),
    )


def _find(wanted: Wanted, agent: WorkerAgent, called_off: Callable[[], bool]) -> _Found:
    sensor = wanted.sensor
    pack_dir = pack_directory(sensor.pack) if sensor.pack is not None else None
    if sensor.pack is None or pack_dir is None:
        raise CannotStart(f"The pack of sensor '{sensor.ref}' has no files on this worker")
    spec = runtime_spec(sensor.runtime, sensor.runtime_version_constraint, agent.offers())
    file = _file_of(pack_dir, sensor.entrypoint)
    if not file:
        raise CannotStart(f"The pack '{sensor.pack.ref}' has no file {SENSORS_FOLDER}/{sensor.entrypoint}")
    env_dir = ready_environment(sensor.pack, sensor.runtime, spec.version, called_off=called_off)
    return _Found(pack_dir=pack_dir, file=file, spec=spec, env_dir=env_dir)


def _file_of(pack_dir: Path, entrypoint: str) -> str:
    """Return the sensor's file inside its pack, links followed; empty when there is none."""
    name = entrypoint.removeprefix(f"{SENSORS_FOLDER}/")
    path = os.path.join(pack_dir, SENSORS_FOLDER, name)
    inside = os.path.realpath(path).startswith(os.path.realpath(pack_dir) + os.sep)
    return path if name and inside and os.path.isfile(path) else ""


def _program(wanted: Wanted, found: _Found, agent: WorkerAgent) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return arguments and environment as the runtime has them. Raises JobError."""
    sensor = wanted.sensor
    job = Job(
        execution_id=0,  # no execution: a sensor is not told of one
        action_ref=sensor.ref,
        pack_ref=sensor.pack_ref or "",
        is_adhoc=False,
        entrypoint=sensor.entrypoint,
        runtime=found.spec,
        available_runtimes=tuple(read_capabilities(agent.offers())[0]),
        pack_dir=found.pack_dir,
        env_dir=found.env_dir,
        parameters={},
        log_dir=found.pack_dir,
    )
    runtime = runtime_for(job)
    preparation = Preparation(
        job=job,
        config=runtime.config(job),
        entry=Entry(file=found.file),
        workplace=Workplace(agent.services.directory, f"sensor-{sensor.pk}"),
        services=agent.services,
        directory=str(found.pack_dir),
        limits=NO_LIMITS,
    )
    program = runtime.prepare_service(preparation)
    return program.argv, preparation.env
