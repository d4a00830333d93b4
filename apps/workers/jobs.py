"""Run one job on this worker, from its parameters to its result. Knows neither database nor broker."""

import logging
import os
from typing import Any

from apps.core.markers import restored
from apps.core.redaction import Redactor
from apps.workers import results
from apps.workers.capture import OutputFilter
from apps.workers.control import RunControl, StopReason
from apps.workers.environment import marks_of
from apps.workers.job_spec import Job, JobError, JobReport, RuntimeSpec
from apps.workers.limits import NO_LIMITS, Limits
from apps.workers.parameters import render
from apps.workers.process import CannotStart, Command, Ended, run
from apps.workers.runner_services import RunnerServices
from apps.workers.runtimes import runtime_for
from apps.workers.runtimes.base import Preparation, Program
from apps.workers.secret_output import SecretOutput
from apps.workers.workplace import Workplace

__all__ = ["Job", "JobReport", "OutputFilter", "RunControl", "RunnerServices", "RuntimeSpec", "StopReason", "run_job"]

logger = logging.getLogger(__name__)

SAID_BY_THE_PROGRAM = frozenset({"stdout", "stderr", "error", "data", "queue_ack"})


def run_job(job: Job, control: RunControl, services: RunnerServices) -> JobReport:
    """
    Run a job to its end and report it; when this returns, no process of it is left.

    Never raises for what a program does: one that cannot be started is a report too.
    """
    workplace = Workplace(services.directory, f"{job.execution_id}-{job.epoch}")
    limits = Limits.of(job.limits) if job.limits else NO_LIMITS
    try:
        preparation, program = _prepare(job, limits, workplace, services)
        secret_output = _secret_output(job, inline_python=program.inline_python)
        command = _command(preparation, program, secret_output)
        ended = run(command, control, services, program.starter)
    except (JobError, CannotStart) as error:
        return _not_run(str(error), control)
    except OSError as error:
        logger.exception("Execution %d cannot be prepared", job.execution_id)
        return _not_run(f"Cannot prepare the run: {error.strerror or error}", control)
    finally:
        workplace.close()
    return _report(job, ended, limits, inline_python=program.inline_python, secret_output=secret_output)


def _secret_output(job: Job, *, inline_python: bool) -> SecretOutput | None:
    """Return what looks after the secrets among the outputs, None when the action has none."""
    if job.out_schema is None:
        return None
    output_format = results.INLINE_PYTHON if inline_python else job.output_format
    return SecretOutput(
        job.out_schema,
        lambda printed: results.data_in(printed, output_format),
        job.redactor or Redactor(()),
        everything=output_format == "yaml",
    )


def _prepare(job: Job, limits: Limits, workplace: Workplace, services: RunnerServices) -> tuple[Preparation, Program]:
    runtime = runtime_for(job)
    config = runtime.config(job)
    entry = runtime.entry(job, config)
    has_pack_dir = job.pack_dir is not None and (bool(entry.file) or os.path.isdir(job.pack_dir))
    preparation = Preparation(
        job=job,
        config=config,
        entry=entry,
        workplace=workplace,
        services=services,
        directory=str(job.pack_dir) if has_pack_dir else workplace.directory(),
        limits=limits,
    )
    return preparation, runtime.prepare(preparation)


def _command(preparation: Preparation, program: Program, secret_output: SecretOutput | None) -> Command:
    job, limits = preparation.job, preparation.limits
    stdin = render({**job.parameters, **job.ambient}, job.parameter_format)
    if job.parameter_delivery == "file":
        preparation.env["ATTUNE_PARAMETER_FILE"] = preparation.workplace.file(stdin, mode=0o400)
        stdin = b""
    return Command(
        argv=program.argv,
        env=preparation.env,
        directory=preparation.directory,
        stdin=stdin,
        timeout_seconds=job.timeout_seconds,
        kill_grace_seconds=job.kill_grace_seconds,
        stdout_path=f"{job.log_dir}/stdout.log",
        stderr_path=f"{job.log_dir}/stderr.log",
        stdout_limit=limits.output_bytes or job.stdout_limit,
        stderr_limit=limits.output_bytes or job.stderr_limit,
        output_filter=job.redactor.stream if job.redactor is not None else None,
        stdout_filter=secret_output,
        limits=limits,
        marks=marks_of(job),
    )


def _report(
    job: Job, ended: Ended, limits: Limits, *, inline_python: bool, secret_output: SecretOutput | None
) -> JobReport:
    result = results.result_of(
        ended,
        output_format=job.output_format,
        timeout_seconds=job.timeout_seconds,
        limits=limits,
        inline_python=inline_python,
        data=secret_output.data if secret_output is not None else None,
    )
    if job.redactor is not None:
        _redact(result, job.redactor)
    if "data" in result:
        results.write_result_file(job.log_dir, result)
        if secret_output is not None:
            result["data"] = restored(result["data"], secret_output.values)
    stopped = ended.reason in ("cancel", "lost", "superseded")
    timed_out = ended.reason == "timeout"
    return JobReport(
        outcome=(
            "stopped" if stopped else "timeout" if timed_out else "completed" if result["succeeded"] else "failed"
        ),
        result=result,
        stop_reason=ended.reason if stopped else None,
        stdout_bytes=ended.stdout.size,
        stderr_bytes=ended.stderr.size,
    )


def _redact(result: dict[str, Any], redactor: Redactor) -> None:
    """Take secrets out of what the program said; the numbers are ours."""
    for name in SAID_BY_THE_PROGRAM & result.keys():
        result[name] = redactor.redact_json(result[name])


def _not_run(error: str, control: RunControl) -> JobReport:
    """Report a job whose process was never started."""
    if control.reason is None:
        return JobReport(outcome="failed", result=results.not_run(error))
    result = results.not_run(results.STOPPED_BEFORE_START)
    if control.reason == "cancel":
        result = results.as_cancelled({"exit_code": -1, "duration_ms": 0})
    return JobReport(outcome="stopped", result=result, stop_reason=control.reason)
