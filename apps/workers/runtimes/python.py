"""Python: files, functions of files and inline code, in a fork of a warm template or in a fresh interpreter."""

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from apps.workers.job_spec import Job
from apps.workers.process import Command, Started, Starter, spawn
from apps.workers.runtimes.base import Entry, Preparation, Program, Runtime, RuntimeConfig, no_content, pack_file
from apps.workers.runtimes.warm import TemplateFailed, TemplateKey

INTERPRETER_SIDE = Path(__file__).parent / "interpreter"
_FILE_AND_FUNCTION = re.compile(r"(?P<file>[A-Za-z0-9_./-]+)(?::(?P<function>[A-Za-z_][A-Za-z0-9_]*))?")
# Like `python -c code`: sys.argv is ["-c"], sys.path[0] is "".
_BOOTSTRAP = (
    "import sys; _, d, p = sys.argv; del sys.argv[1:]; sys.path.insert(0, d); import attune_program as a; "
    "sys.path.remove(d); a.main(p)"
)
# An interpreter reads these only at its start, so a run that sets them cannot be a fork of one that has started.
_READ_AT_START = re.compile(r"PYTHON.*|LC_.*|LANG|LANGUAGE|TZ|HOME")


class Python(Runtime):
    names = frozenset({"python", "python3"})
    default_config = {
        "interpreter": {"binary": "python3", "args": ["-u"], "file_extension": ".py"},
        "inline_execution": {"strategy": "direct", "extension": ".py"},
        "environment": {"interpreter_path": "{env_dir}/bin/python"},
        "env_vars": {"PYTHONPATH": {"value": "{pack_dir}/lib", "operation": "prepend"}},
    }

    def entry(self, job: Job, config: RuntimeConfig) -> Entry:
        if not job.entrypoint.strip():
            no_content(job)
        match = _FILE_AND_FUNCTION.fullmatch(job.entrypoint)
        if not match:
            return Entry(code=job.entrypoint) if config.inline else Entry(file=no_content(job))
        return Entry(file=pack_file(job, match["file"]) or no_content(job), function=match["function"] or "")

    def file_program(self, preparation: Preparation) -> Program:
        if preparation.entry.function:
            return self.inline_program(preparation)
        plain = self.plain_program(preparation)
        if not preparation.entry.file.endswith(".py"):
            return plain
        return replace(plain, starter=_warm(preparation, {"kind": "file"}, lambda: plain.argv) or spawn)

    def inline_program(self, preparation: Preparation) -> Program:
        job, entry = preparation.job, preparation.entry
        task = {
            "kind": "function" if entry.function else "inline",
            "code": entry.code,
            "path": entry.file,
            "function": entry.function,
            "parameters": {**job.parameters, **job.ambient},
            "ambient": list(job.ambient),
        }

        def cold_argv() -> tuple[str, ...]:
            path = preparation.workplace.file(json.dumps(task).encode(), ".json")
            command = (preparation.interpreter, *preparation.config.args)
            return (*command, "-c", _BOOTSTRAP, os.fspath(INTERPRETER_SIDE), path)

        starter = _warm(preparation, task, cold_argv)
        if starter:
            return Program(argv=(preparation.interpreter,), starter=starter, inline_python=True)
        return Program(argv=cold_argv(), inline_python=True)


def _warm(preparation: Preparation, task: dict[str, Any], cold_argv: Callable[[], tuple[str, ...]]) -> Starter | None:
    """Return how to start the task as a fork of a template, None when it has to be a fresh interpreter."""
    job, services = preparation.job, preparation.services
    if preparation.limits.before_start or any(_READ_AT_START.fullmatch(name) for name in job.env):
        return None
    try:
        template = services.templates.get(_template_key(preparation))
    except TemplateFailed:
        return None
    extra_path = [] if job.preload else [entry for entry in preparation.env.get("PYTHONPATH", "").split(":") if entry]
    first_path = os.path.dirname(os.path.realpath(preparation.entry.file)) if preparation.entry.file else ""
    argv0 = preparation.entry.file if task["kind"] == "file" else "-c"

    def start(command: Command, descriptors: tuple[int, int, int]) -> Started:
        try:
            return template.start(
                {
                    **task,
                    "path": preparation.entry.file,
                    "env": dict(command.env),
                    "directory": command.directory,
                    "marks": command.marks,
                    "argv": [argv0],
                    "sys_path": [first_path, *extra_path],
                },
                descriptors,
            )
        except TemplateFailed:
            return spawn(replace(command, argv=cold_argv()), descriptors)

    return start


def _template_key(preparation: Preparation) -> TemplateKey:
    """Return what a template must have been started with to serve this run."""
    job = preparation.job
    env = dict(preparation.runtime_env)
    if not job.preload:
        env.pop("PYTHONPATH", None)  # each fork puts it on its path itself, so packs can share a template
    stamp = _stamp(preparation.interpreter)
    if job.preload and job.pack_dir:
        stamp += _stamp(os.fspath(job.pack_dir)) + _stamp(os.path.join(job.pack_dir, "pack.yaml"))
    return TemplateKey(
        argv=(preparation.interpreter, *preparation.config.args),
        env=tuple(sorted(env.items())),
        preload=job.preload,
        stamp=stamp,
    )


def _stamp(path: str) -> tuple[int, ...]:
    """Return numbers that change when the file is replaced."""
    try:
        status = os.stat(path)
    except OSError:
        return (0, 0)
    return (status.st_ino, status.st_mtime_ns)
