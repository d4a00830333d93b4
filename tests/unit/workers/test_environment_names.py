"""Which variables a request may set (execution.md section 7)."""

from typing import Any

import pytest

from apps.workers.environment_names import check_env_vars, is_reserved

RESERVED = """
ATTUNE_X LD_PRELOAD DYLD_X BASH_ENV BASH_FUNC_x%% ENV SHELLOPTS BASHOPTS IFS PATH PYTHONPATH PYTHONHOME PYTHONSTARTUP
NODE_OPTIONS NODE_PATH PERL5OPT PERL5LIB RUBYOPT RUBYLIB JAVA_TOOL_OPTIONS GIT_SSH_COMMAND
"""


@pytest.mark.parametrize("name", RESERVED.split())
def test_reserved_names(name: str) -> None:
    assert is_reserved(name)


@pytest.mark.parametrize("name", ["HOME", "path", "PATHS", "PYTHONHASHSEED", "LDX", "MY_PATH", "attune_x", "LC_ALL"])
def test_free_names(name: str) -> None:
    assert not is_reserved(name)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("", "x", "is not a name for an environment variable"),
        ("1A", "x", "is not a name for an environment variable"),
        ("A B", "x", "is not a name for an environment variable"),
        ("A\n", "x", "is not a name for an environment variable"),
        ("A" * 129, "x", "is not a name for an environment variable"),
        ("PATH", "x", "is a reserved name"),
        ("A", 1, "must be a string"),
        ("A", "x\0", "must not contain NUL"),
        ("A", "x" * 65536, "the variables have 65537 bytes together, more than 65536"),
    ],
)
def test_variable_is_refused(name: str, value: Any, problem: str) -> None:
    assert check_env_vars({name: value}) == {name: problem}


def test_variables_are_allowed() -> None:
    assert check_env_vars({"A" * 128: "", "_a1": "x" * 60_000, "LC_ALL": "C"}) == {}
