"""What is a parameter and what an environment variable of a request (execution.md sections 2 and 7)."""

from typing import Any

import pytest

from apps.executions.parameters import left_out_text, own_variables

DECLARED = {"env": {"type": "object"}}


@pytest.mark.parametrize(
    ("config", "env_vars", "given", "left_out"),
    [
        (None, None, {}, []),
        ({"env": {"A": "1"}}, {"B": "2"}, {"A": "1", "B": "2"}, []),
        ({"env": {"A": "1"}}, {"A": "2"}, {"A": "2"}, []),
        ({"env": {"LD_PRELOAD": "x", "A": "1"}}, {"PATH": "/tmp"}, {"A": "1"}, ["LD_PRELOAD", "PATH"]),
        ({"env": {"N": 3, "a b": "x", "NUL": "\0"}}, None, {}, ["N", "a b", "NUL"]),
        ({"parameters": {}, "env": {"ATTUNE_API_TOKEN": "x"}}, None, {}, ["ATTUNE_API_TOKEN"]),
        (None, {"A": "x" * 40_000, "B": "x" * 50_000}, {"A": "x" * 40_000}, ["B"]),
        ({"env": ["A"]}, ["B"], {}, []),
    ],
)
def test_variables_that_no_request_may_set_are_left_out(
    config: Any, env_vars: Any, given: dict[str, str], left_out: list[str]
) -> None:
    assert own_variables(config, env_vars, None) == (given, left_out)
    told = f"environment variables left out: {', '.join(left_out)}" if left_out else None
    assert left_out_text(config, env_vars, None) == told


def test_an_env_that_the_schema_declares_is_a_parameter() -> None:
    assert own_variables({"env": {"PATH": "/tmp"}}, None, DECLARED) == ({}, [])
