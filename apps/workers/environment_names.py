"""Names of environment variables: which ones a request may set (execution.md section 7). Pure."""

import re
from collections.abc import Mapping
from typing import Any

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
MAX_TOTAL_BYTES = 64 * 1024

RESERVED_PREFIXES = ("ATTUNE_", "LD_", "DYLD_", "BASH_FUNC_", "GIT_")
RESERVED = frozenset(
    {
        "BASH_ENV",
        "ENV",
        "SHELLOPTS",
        "BASHOPTS",
        "IFS",
        "PATH",
        "PYTHONPATH",
        "PYTHONHOME",
        "PYTHONSTARTUP",
        "NODE_OPTIONS",
        "NODE_PATH",
        "PERL5OPT",
        "PERL5LIB",
        "RUBYOPT",
        "RUBYLIB",
        "JAVA_TOOL_OPTIONS",
    }
)


def is_reserved(name: str) -> bool:
    """Return True when a request must not set this variable: it would change which code runs."""
    return name in RESERVED or name.startswith(RESERVED_PREFIXES)


def check_env_vars(variables: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with each variable that a request must not set, by name; empty when all may be set."""
    problems = {name: problem for name, value in variables.items() if (problem := _problem(name, value))}
    total = sum(_size(name) + _size(value) for name, value in variables.items() if isinstance(value, str))
    if not problems and total > MAX_TOTAL_BYTES:
        largest = max(variables, key=lambda name: _size(variables[name]))
        problems[largest] = f"the variables have {total} bytes together, more than {MAX_TOTAL_BYTES}"
    return problems


def _problem(name: str, value: Any) -> str:
    if not NAME.fullmatch(name):
        return "is not a name for an environment variable"
    if is_reserved(name):
        return "is a reserved name"
    if not isinstance(value, str):
        return "must be a string"
    if "\0" in value:
        return "must not contain NUL"
    return ""


def _size(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))
