"""Secret outputs are held back until it is known what in them is secret."""

import json

import pytest

from apps.core.redaction import Redactor
from apps.workers.results import INLINE_PYTHON, data_in
from apps.workers.secret_output import SecretOutput

SCHEMA = {
    "password": {"type": "string", "secret": True},
    "users": {"items": {"properties": {"pin": {"secret": True}}}},
}
DATA = {"password": "hunter-22 \"'", "users": [{"name": "olga", "pin": "4711-1"}], "open": "x"}
MARKER = {"$attune_secret": True, "redacted": True}


def held(*secrets: str, output_format: str = "text") -> SecretOutput:
    return SecretOutput(
        SCHEMA, lambda data: data_in(data, output_format), Redactor(secrets), everything=output_format == "yaml"
    )


def shown(output: SecretOutput, *chunks: bytes) -> tuple[bytes, bytes]:
    """Return what is seen while the program runs, and what comes at its end."""
    return b"".join(output.feed(chunk) for chunk in chunks), output.flush()


def test_output_is_shown_up_to_the_first_line_that_may_be_data() -> None:
    output = held()
    text = b"working\n  still\n" + json.dumps(DATA).encode() + b"\nused hunter-22 \"'\n"

    seen, rest = shown(output, text)

    assert seen == b"working\n  still\n"
    assert output.values == {}  # the last line is none
    assert rest == text[len(seen) :]


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_secrets_are_taken_out_at_the_end_wherever_they_stand(size: int) -> None:
    output = held("token-99")
    text = b'with token-99\n \n  {"step": 1}\nmade hunter-22 "\' here\n' + json.dumps(DATA).encode() + b"\n\n"

    seen, rest = shown(output, *(text[at : at + size] for at in range(0, len(text), size)))

    assert seen.strip() == b"with ***"
    assert output.values == {"/password": "hunter-22 \"'", "/users/0/pin": "4711-1"}
    assert rest.startswith(b'{"step": 1}\nmade *** here\n')
    assert json.loads(rest.splitlines()[2]) == {
        "password": "***", "users": [{"name": "olga", "pin": "***"}], "open": "x",
    }  # fmt: skip


def test_output_that_is_data_as_a_whole_waits_from_its_first_byte() -> None:
    output = held(output_format="json")

    seen, rest = shown(output, json.dumps(DATA, indent=2).encode())

    assert (seen, output.values["/password"]) == (b"", DATA["password"])
    assert json.loads(rest)["password"] == "***"


def test_yaml_waits_from_its_first_byte() -> None:
    output = held(output_format="yaml")
    assert shown(output, b"password: hunter22\nopen: x\n") == (b"", b"password: ***\nopen: x\n")


def test_value_that_inline_python_returns_is_taken_out() -> None:
    output = held(output_format=INLINE_PYTHON)
    assert shown(output, b"hello\n", b'{"password": "hunter22"}\n') == (b"hello\n", b'{"password": "***"}\n')


def test_output_may_hold_what_the_run_was_given() -> None:
    output = held("hunter22")
    seen, rest = shown(output, b'{"password": "postgres://me:hunter22@db"}\n')

    assert (seen, rest) == (b"", b'{"password": "***"}\n')
    assert output.values == {"/password": "postgres://me:hunter22@db"}
    assert output.data == {"password": MARKER}


def test_cut_output_shows_no_secret_of_the_run() -> None:
    output = held("hunter22")
    assert output.feed(b'{"password": "hunter22", "filling": "') == b""
    assert output.cut() == b'{"password": "***", "filling": "'


def test_output_without_data_is_shown_as_it_comes() -> None:
    output = held("hunter22")
    seen, rest = shown(output, b"plain hunter22 text {not data}\n", b" more [of it]")
    assert seen + rest == b"plain *** text {not data}\n more [of it]"


def test_large_output_waits_on_disk_and_comes_whole() -> None:
    output = held()
    text = json.dumps({**DATA, "filling": "-" * 3_000_000}).encode()
    seen, rest = shown(output, text[:1_500_000], text[1_500_000:])
    assert (seen, json.loads(rest)["filling"]) == (b"", "-" * 3_000_000)
    assert b"hunter" not in rest
