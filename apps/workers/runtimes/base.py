"""
What every runtime does: decide what the entry point is, build the environment, say what to start.

A runtime of its own overrides what is special about it; any other one works by its ``execution_config`` alone.
"""

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from apps.workers import environment, parameters
from apps.workers.job_spec import Job, JobError
from apps.workers.limits import Limits
from apps.workers.process import Starter, spawn
from apps.workers.workplace import Workplace

if TYPE_CHECKING:
    from apps.workers.runner_services import RunnerServices

ONE_WORD = re.compile(r"[A-Za-z0-9_./-]+")
MAX_ARGUMENT_BYTES = 100_000  # longer inline code goes through a file; the kernel allows 128 KiB per argument

# How interpreters take code as an argument, by the beginning of their file's name; the usual way is -c.
_CODE_OPTIONS = {"node": "-e", "perl": "-e", "ruby": "-e", "Rscript": "-e", "lua": "-e", "php": "-r"}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What the entry point means: a file of the pack or inline code."""

    file: str = ""
    function: str = ""  # of the file; only Python knows these
    code: str = ""


@dataclass(frozen=True, kw_only=True)
class RuntimeConfig:
    """The ``execution_config`` of a runtime (packs.md section 7), read once."""

    binary: str = ""  # empty: the file itself is executed
    args: tuple[str, ...] = ()
    inline: bool = False
    strategy: str = "direct"
    extension: str = ""
    shell_helpers: bool = False
    interpreter_path: str = ""
    env_vars: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "RuntimeConfig":
        interpreter = config.get("interpreter") or {}
        inline = config.get("inline_execution")
        return cls(
            binary=str(interpreter.get("binary") or ""),
            args=tuple(str(arg) for arg in interpreter.get("args") or ()),
            inline=inline is not None,
            strategy=str((inline or {}).get("strategy") or "direct"),
            extension=str((inline or {}).get("extension") or interpreter.get("file_extension") or ""),
            shell_helpers=bool((inline or {}).get("inject_shell_helpers")),
            interpreter_path=str((config.get("environment") or {}).get("interpreter_path") or ""),
            env_vars=config.get("env_vars") or {},
        )


@dataclass(frozen=True, kw_only=True)
class Program:
    """What to start."""

    argv: tuple[str, ...]
    starter: Starter = spawn
    inline_python: bool = False


@dataclass(kw_only=True)
class Preparation:
    """A job on its way to a program."""

    job: Job
    config: RuntimeConfig
    entry: Entry
    workplace: Workplace
    services: "RunnerServices"
    directory: str
    limits: Limits
    interpreter: str = ""
    runtime_env: dict[str, str] = field(default_factory=dict)  # what every run of this runtime gets
    env: dict[str, str] = field(default_factory=dict)


class Runtime:
    """Runs files, and inline code where the configuration has ``inline_execution``."""

    names: ClassVar[frozenset[str]] = frozenset()
    default_config: ClassVar[Mapping[str, Any]] = {}

    def config(self, job: Job) -> RuntimeConfig:
        """Return how this job's runtime is configured."""
        own = job.runtime.execution_config if job.runtime else {}
        return RuntimeConfig.of(own or self.default_config)

    def entry(self, job: Job, config: RuntimeConfig) -> Entry:
        """Decide what the entry point is. Raises JobError when it is a file that is not there."""
        if config.inline and job.entrypoint.strip() and not ONE_WORD.fullmatch(job.entrypoint):
            return Entry(code=job.entrypoint)
        return Entry(file=pack_file(job, job.entrypoint) or no_content(job))

    def prepare(self, preparation: Preparation) -> Program:
        """Return what to start; ``preparation.env`` is complete afterwards."""
        self._find_interpreter(preparation)
        preparation.env = self._environment(preparation)
        if preparation.entry.code:
            return self.inline_program(preparation)
        return self.file_program(preparation)

    def prepare_service(self, preparation: Preparation) -> Program:
        """
        Return what to start for a file that is not run to its end but stays (a sensor).

        ``preparation.env`` has what every program of this runtime gets; what is said of its work, the caller adds.
        """
        self._find_interpreter(preparation)
        preparation.env = self._runtime_environment(preparation)
        return self.plain_program(preparation)

    def file_program(self, preparation: Preparation) -> Program:
        return self.plain_program(preparation)

    def plain_program(self, preparation: Preparation) -> Program:
        """Return how a file is started in an interpreter of its own."""
        return Program(argv=(preparation.interpreter, *preparation.config.args, preparation.entry.file))

    def inline_program(self, preparation: Preparation) -> Program:
        """Return how inline code is started: as an argument, or in a private file."""
        config, code = preparation.config, self.inline_code(preparation)
        command = (preparation.interpreter, *config.args)
        content = code.replace("\0", "").encode(errors="replace")
        if config.strategy == "temp_file" or len(content) > MAX_ARGUMENT_BYTES:
            return Program(argv=(*command, preparation.workplace.file(content, config.extension)))
        return Program(argv=(*command, _code_option(preparation.interpreter), content.decode()))

    def inline_code(self, preparation: Preparation) -> str:
        """Return the code with the definitions that go before it."""
        job, code = preparation.job, preparation.entry.code
        if not preparation.config.shell_helpers:
            return code
        definitions = parameters.shell_definitions(job.parameters, ambient=job.ambient, secret_names=job.secret_names)
        return f"{definitions}\n{code}"

    def _find_interpreter(self, preparation: Preparation) -> None:
        """Set the interpreter, and its arguments with the templates in them filled in."""
        preparation.interpreter = self._interpreter(preparation)
        values = _template_values(preparation)
        rendered = [environment.render_template(argument, values) for argument in preparation.config.args]
        args = tuple(argument for argument in rendered if argument is not None)
        if args != preparation.config.args:
            preparation.config = replace(preparation.config, args=args)

    def _interpreter(self, preparation: Preparation) -> str:
        config, env_dir = preparation.config, preparation.job.env_dir
        if config.interpreter_path and env_dir is not None:
            path = environment.render_template(
                config.interpreter_path, {**_template_values(preparation), "env_dir": str(env_dir)}
            )
            if path and os.path.exists(path):
                return path
        if not config.binary:
            raise JobError(f"Runtime '{runtime_name(preparation.job, self)}' has no interpreter")
        search = preparation.services.inherited["PATH"]
        binary = environment.render_template(config.binary, _template_values(preparation))
        return preparation.services.find_program(binary or config.binary, search) or self._missing(preparation)

    def _missing(self, preparation: Preparation) -> str:
        job = preparation.job
        raise JobError(
            f"Interpreter '{preparation.config.binary}' of runtime '{runtime_name(job, self)}' not found "
            f"(available: {offered(job)})"
        )

    def _environment(self, preparation: Preparation) -> dict[str, str]:
        shared, job = self._runtime_environment(preparation), preparation.job
        return {**shared, **job.env, **environment.attune_variables(job)}

    def _runtime_environment(self, preparation: Preparation) -> dict[str, str]:
        shared = preparation.runtime_env
        shared.update(preparation.services.inherited)
        environment.add_runtime_variables(shared, preparation.config.env_vars, _template_values(preparation))
        return shared


def _template_values(preparation: Preparation) -> dict[str, str | None]:
    """Return what the templates of a runtime's configuration may name; None has no value in this run."""
    job = preparation.job
    return {
        "pack_dir": str(job.pack_dir) if job.pack_dir else None,
        "env_dir": str(job.env_dir) if job.env_dir and job.env_dir.exists() else None,
        "interpreter": preparation.interpreter or None,
        "action_file": preparation.entry.file or None,
        "manifest_path": None,
    }


def runtime_name(job: Job, runtime: Runtime) -> str:
    return job.runtime.name if job.runtime else min(runtime.names, default="")


def offered(job: Job) -> str:
    """Return the names of the runtimes this worker offers, for error texts."""
    return ", ".join(job.available_runtimes) or "none"


def no_content(job: Job) -> str:
    raise JobError(f"No executable content found for action '{job.action_ref}': {job.entrypoint}")


def pack_file(job: Job, name: str) -> str:
    """Return the path of a file of the pack, empty when it has none of that name inside its directory."""
    if job.pack_dir is None or not name:
        return ""
    pack_dir = os.fspath(job.pack_dir)
    for path in (f"{pack_dir}/actions/{name}", f"{pack_dir}/{name}"):
        if _is_plain_file(pack_dir, path):
            return path
        if os.path.isfile(path):
            return path if _lies_inside(path, pack_dir) else ""
    return ""


def _is_plain_file(directory: str, path: str) -> bool:
    """Return True for a file with no link and no ``..`` on the way from the directory: the usual case, told quickly."""
    names = path[len(directory) + 1 :].split("/")
    if ".." in names:
        return False
    for name in names[:-1]:
        directory = f"{directory}/{name}"
        if os.path.islink(directory):
            return False
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def _lies_inside(path: str, directory: str) -> bool:
    return os.path.realpath(path).startswith(os.path.realpath(directory) + os.sep)


def _code_option(interpreter: str) -> str:
    name = os.path.basename(interpreter)
    return next((option for start, option in _CODE_OPTIONS.items() if name.startswith(start)), "-c")
