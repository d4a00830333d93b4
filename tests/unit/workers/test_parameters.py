"""Parameters as text and as shell variables (execution.md section 8)."""

import json
import subprocess
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.workers.parameters import render, shell_definitions


@pytest.mark.parametrize(
    ("parameters", "parameter_format", "text"),
    [
        ({}, "json", "{}\n"),
        ({"b": 1, "a": "ä\n"}, "json", '{"b":1,"a":"ä\\n"}\n'),
        ({"lone": "\ud800"}, "json", '{"lone":"\\ud800"}\n'),
        ({}, "yaml", "{}\n"),
        ({"b": [1, "x"], "a": "ä"}, "yaml", "b:\n- 1\n- x\na: ä\n"),
        ({}, "dotenv", "\n"),
        (
            {
                "Name": "it's",
                "deep": {"er": {"x": 1}, "none": {}},
                "list": [1, "a"],
                "no": None,
                "yes": True,
                "f": 1.5,
            },
            "dotenv",
            "Name='it'\\''s'\ndeep.er.x='1'\ndeep.none='{}'\nf='1.5'\nlist='[1,\"a\"]'\nno=''\nyes='true'\n",
        ),
        ({"a b": 1, "$(id)": 2, "x\n": 3, "ok-1.a_B": 4}, "dotenv", "ok-1.a_B='4'\n"),
    ],
)
def test_render(parameters: dict[str, Any], parameter_format: str, text: str) -> None:
    assert render(parameters, parameter_format) == text.encode()


def test_render_yaml_can_be_read_back() -> None:
    parameters = {"text": "no", "number": "007", "deep": {"list": [None, True, 1.5]}, "lines": "a\n\nb\n"}

    assert yaml.safe_load(render(parameters, "yaml")) == parameters


def definitions(
    parameters: dict[str, Any], ambient: dict[str, Any] | None = None, secret: tuple[str, ...] = ()
) -> str:
    return shell_definitions(parameters, ambient=ambient or {}, secret_names=frozenset(secret))


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("message", ["PARAM_MESSAGE", "message"]),
        ("my-host.name", ["PARAM_MY_HOST_NAME", "my_host_name"]),
        ("größe", ["PARAM_GR__E", "gr__e"]),
        ("1st", ["PARAM_1ST"]),
        ("PATH", ["PARAM_PATH"]),
        ("GIT_DIR", ["PARAM_GIT_DIR"]),
        ("ATTUNE_API_URL", ["PARAM_ATTUNE_API_URL"]),
        ("UID", ["PARAM_UID"]),
        ("BASH_REMATCH", ["PARAM_BASH_REMATCH"]),
        ("RANDOM", ["PARAM_RANDOM"]),
        ("path", ["PARAM_PATH", "path"]),
    ],
)
def test_names_of_a_parameter(name: str, names: list[str]) -> None:
    assert definitions({name: "x"}) == "; ".join(f"export {each}='x'" for each in names)


def test_name_that_needed_no_change_wins() -> None:
    for parameters in ({"a-b": 1, "a_b": 2}, {"a_b": 2, "a-b": 1}):
        assert set(definitions(parameters).split("; ")) == {"export PARAM_A_B='2'", "export a_b='2'"}
    assert "export PARAM_HOST='own'" in definitions({"host": "x", "PARAM_HOST": "own"})


def test_secret_and_ambient_values_are_not_exported() -> None:
    text = definitions({"token": "s", "key": "given"}, {"key": "ambient"}, secret=("token",))

    assert text == (
        "export -n PARAM_TOKEN='s'; export -n token='s'; export -n PARAM_KEY='ambient'; export -n key='ambient'"
    )


def test_large_value_is_not_exported() -> None:
    assert definitions({"a": "x" * 100_000}).startswith("export PARAM_A=")
    assert definitions({"a": "x" * 100_001}).startswith("export -n PARAM_A=")
    assert definitions({"a": "ä" * 50_001}).startswith("export -n PARAM_A=")


def test_so_many_values_that_nothing_could_be_started_are_not_all_exported() -> None:
    text = definitions({f"v{number}": "x" * 90_000 for number in range(20)})

    assert 0 < text.count("export v") < 12
    assert text.count("export -n v") == 20 - text.count("export v")


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)


@settings(max_examples=40, deadline=None)
@given(st.lists(TEXTS | st.sampled_from(["$(id)", "`id`", "'", '"', "\\", "a\n", "!x", "\\n'", "${HOME}", "\r\n"])))
def test_values_arrive_unchanged(values: list[str]) -> None:
    parameters = {f"v{number}": value for number, value in enumerate(values)}
    script = definitions(parameters) + "\n" + "".join(f"printf '%s\\0' \"${name}\"\n" for name in parameters)

    printed = subprocess.run(["/bin/bash", "-es"], input=script.encode(), capture_output=True, check=True).stdout

    assert [text.decode() for text in printed.split(b"\0")[:-1]] == values


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (True, "true"), (1.5, "1.5"), ({"a": [1]}, '{"a":[1]}'), ("a\0b", "ab")]
)
def test_values_that_are_no_text(value: Any, text: str) -> None:
    assert definitions({"a": value}) == f"export PARAM_A='{text}'; export a='{text}'"


def test_json_of_any_map_is_one_line() -> None:
    assert json.loads(render({"a": "b\nc"}, "json")) == {"a": "b\nc"}
    assert render({"a": "b\nc\u2028"}, "json").count(b"\n") == 1
