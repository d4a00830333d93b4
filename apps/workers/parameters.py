"""Parameters as a program gets them: formatted text, or shell variables (execution.md section 8). Pure."""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from apps.workers.environment_names import is_reserved

MAX_EXPORTED_BYTES = 100_000  # per value; the kernel allows 128 KiB per string
MAX_EXPORTED_TOTAL_BYTES = 1_000_000  # the kernel allows a quarter of the stack limit, usually 2 MiB, for all

_DOTENV_KEY = re.compile(r"[A-Za-z0-9_.-]+")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9]")
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

# What bash sets, refuses or acts upon itself; the variables of the locale and HOME are left to the action.
_BASH_OWN = frozenset(  # a table of words
    [
        "_",
        "CDPATH",
        "CHILD_MAX",
        "COLUMNS",
        "COPROC",
        "DIRSTACK",
        "EMACS",
        "EPOCHREALTIME",
        "EPOCHSECONDS",
        "EUID",
        "EXECIGNORE",
        "FCEDIT",
        "FIGNORE",
        "FUNCNAME",
        "FUNCNEST",
        "GLOBIGNORE",
        "GROUPS",
        "HISTCMD",
        "HISTCONTROL",
        "HISTFILE",
        "HISTFILESIZE",
        "HISTIGNORE",
        "HISTSIZE",
        "HISTTIMEFORMAT",
        "HOSTFILE",
        "HOSTNAME",
        "HOSTTYPE",
        "IGNOREEOF",
        "INPUTRC",
        "INSIDE_EMACS",
        "LINENO",
        "LINES",
        "MACHTYPE",
        "MAILCHECK",
        "MAPFILE",
        "OLDPWD",
        "OPTARG",
        "OPTERR",
        "OPTIND",
        "OSTYPE",
        "PIPESTATUS",
        "POSIXLY_CORRECT",
        "PPID",
        "PROMPT_COMMAND",
        "PROMPT_DIRTRIM",
        "PS0",
        "PS1",
        "PS2",
        "PS3",
        "PS4",
        "PWD",
        "RANDOM",
        "READLINE_ARGUMENT",
        "READLINE_LINE",
        "READLINE_MARK",
        "READLINE_POINT",
        "REPLY",
        "SECONDS",
        "SHELL",
        "SHLVL",
        "SRANDOM",
        "TIMEFORMAT",
        "TMOUT",
        "UID",
    ]
)
_BASH_PREFIXES = ("BASH", "COMP_", "COMPREPLY")


def render(parameters: Mapping[str, Any], parameter_format: str) -> bytes:
    """Return the map in ``json``, ``yaml`` or ``dotenv``, ended by one newline."""
    match parameter_format:
        case "yaml":
            text = yaml.dump(dict(parameters), Dumper=_Dumper, allow_unicode=True, sort_keys=False)
            return text.rstrip("\n").encode(errors="replace") + b"\n"
        case "dotenv":
            return _dotenv(parameters).encode(errors="replace") + b"\n"
        case _:
            # A lone surrogate has no UTF-8; backslashreplace writes the escape that JSON knows for it.
            text = json.dumps(dict(parameters), ensure_ascii=False, separators=(",", ":"))
            return text.encode(errors="backslashreplace") + b"\n"


def _dotenv(parameters: Mapping[str, Any]) -> str:
    flat = {key: value for key, value in _flattened(parameters) if _DOTENV_KEY.fullmatch(key)}
    return "\n".join(f"{key}={_single_quoted(flat[key])}" for key in sorted(flat))


def _flattened(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from _flattened(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", as_text(item)


def as_text(value: Any) -> str:
    """Return a value as a variable holds it: null empty, booleans ``true``/``false``, objects and arrays JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True)
class _Variable:
    rank: int  # how much the name had to change; the smallest wins
    value: str
    exported: bool


def shell_definitions(
    parameters: Mapping[str, Any], *, ambient: Mapping[str, Any], secret_names: Collection[str]
) -> str:
    """
    Return one line of bash that defines every parameter as ``<name>`` and ``PARAM_<NAME>``.

    Ambient keys, which replace parameters of the same name, and secret ones are not exported, nor are values that
    no program could be started with. The values are quoted: nothing in them is evaluated.
    """
    variables: dict[str, _Variable] = {}
    for name, value in {**parameters, **ambient}.items():
        exported = name not in ambient and name not in secret_names
        text = as_text(value).replace("\0", "")
        for target, rank in _shell_names(name):
            if target not in variables or rank < variables[target].rank:
                variables[target] = _Variable(rank, text, exported)
    return "; ".join(_assignments(variables))


def _shell_names(name: str) -> Iterable[tuple[str, int]]:
    plain = _NOT_IN_NAMES.sub("_", name)
    changed = 0 if plain == name else 2
    yield f"PARAM_{plain.upper()}", max(changed, 0 if plain.isupper() else 1)
    if plain and not plain[0].isdigit() and not is_reserved(plain) and not _is_bash_own(plain):
        yield plain, changed


def _is_bash_own(name: str) -> bool:
    return name in _BASH_OWN or name.startswith(_BASH_PREFIXES)


def _assignments(variables: Mapping[str, _Variable]) -> Iterator[str]:
    """Yield ``export`` commands; ``export -n`` also takes a name back that the environment brought along."""
    total = 0
    for name, variable in variables.items():
        size = len(variable.value.encode(errors="replace"))
        exported = variable.exported and size <= MAX_EXPORTED_BYTES and total + size <= MAX_EXPORTED_TOTAL_BYTES
        total += size if exported else 0
        yield f"export {'' if exported else '-n '}{name}={_one_line(variable.value)}"


def _single_quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _one_line(text: str) -> str:
    """Quote for bash without a line break, so that the lines of the script after it keep their distance."""
    if "\n" not in text:
        return _single_quoted(text)
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"$'{escaped}'"
