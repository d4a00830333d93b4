"""Each form of a secret that must be found, written by other code than ours."""

import base64
import json
import re
import shlex
import subprocess
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.redaction import Redactor
from apps.core.redaction.escapes import ESCAPES, EVERYTHING_ESCAPED, from_bytes, to_bytes
from apps.core.redaction.forms import forms_of, secret_texts

SECRET = 'it\'s "s3cr/t" & <ä+€>\\n~😀 100%\t$x`y!z'
TWO_LINES = "first 'line'\nsecond \"line\"\n"


def _upper(escape: re.Match[str]) -> str:
    return "\\u" + escape[0][2:].upper()


WAYS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "json": json.dumps,
    "json, no escapes": lambda text: json.dumps(text, ensure_ascii=False),
    "json, slashes": lambda text: json.dumps(text).replace("/", "\\/"),
    "json in json": lambda text: json.dumps({"inner": json.dumps({"deep": text})}),
    "json, upper case": lambda text: re.sub(r"\\u[0-9a-f]{4}", _upper, json.dumps(text)),
    "json, for html": lambda text: json.dumps(text, ensure_ascii=False).replace("<", "\\u003c")
    .replace(">", "\\u003e").replace("&", "\\u0026"),
    "everything as \\u": lambda text: "".join(
        f"\\u{unit[0]:02x}{unit[1]:02x}" for unit in zip(*[iter(text.encode("utf-16-be"))] * 2, strict=True)
    ),
    "repr": repr,
    "repr of a list": lambda text: repr([text, 1]),
    "ascii": ascii,
    "repr of bytes": lambda text: repr(text.encode()),
    "quote": quote,
    "quote everything": lambda text: quote(text, safe=""),
    "quote, lower case": lambda text: quote(text, safe="").replace("%C3%A4", "%c3%a4").lower(),
    "quote_plus": quote_plus,
    "encodeURIComponent": lambda text: quote(text, safe="-_.!~*'()"),
    "encodeURI": lambda text: quote(text, safe="-_.!~*'();/?:@&=+$,#"),
    "each byte, upper": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "each byte, lower": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "shlex": shlex.quote,
    "single quotes": lambda text: "'" + text.replace("'", "'\\''") + "'",
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64, 1 before": lambda text: base64.b64encode(b"." + text.encode()).decode(),
    "base64, 2 before": lambda text: base64.b64encode(b".." + text.encode()).decode(),
    "base64, line after": lambda text: base64.b64encode(text.encode() + b"\n").decode(),
    "base64, basic auth": lambda text: base64.b64encode(f"user:{text}".encode()).decode(),
    "base64url": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64url, no padding": lambda text: base64.urlsafe_b64encode(b"." + text.encode() + b"..").decode().rstrip("="),
    "mime": lambda text: base64.encodebytes(b"some other text" * 3 + text.encode() * 9).decode(),
}  # fmt: skip


# How a JSON document that holds the secret may be written as a whole.
DOCUMENTS: dict[str, Callable[[str], str]] = {
    "shell": lambda document: "'" + document.replace("'", "'\\''") + "'",
    "printf %q": lambda document: subprocess.run(
        ["bash", "-c", 'printf %q "$1"', "-", document], capture_output=True, text=True, check=True
    ).stdout,
    "URL": lambda document: quote(document, safe=""),
    "repr": repr,
    "base64": lambda document: base64.b64encode(document.encode()).decode(),
}  # fmt: skip


@pytest.mark.parametrize("way", DOCUMENTS)
@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("before", ["", "x", "xx"])
def test_secret_inside_json_is_found_however_the_document_is_written(way: str, ascii_only: bool, before: str) -> None:
    cores = ("first0core0of0it", "second0core0of0it")
    secret = " 'q\"$ /ä\\".join(cores)
    document = json.dumps({"a": before, "token": secret}, ensure_ascii=ascii_only)

    shown = Redactor([secret]).redact_text(DOCUMENTS[way](document))

    assert "***" in shown
    for core in cores:
        assert core not in shown
        assert not [offset for offset in range(3) if core_of(core, offset=offset) in shown]


def core_of(text: str, *, offset: int = 0) -> str:
    """Return what base64 of a text has in common wherever it stands at this offset."""
    data = bytes(offset) + text.encode()
    return base64.b64encode(data).decode()[(0, 2, 3)[offset] : 8 * len(data) // 6]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("secret", [SECRET, "abcd", "p4$$", "ä€ü😀", "x" * 200, SECRET * 5, "line one\nline two"])
def test_form_is_replaced(secret: str, way: str) -> None:
    written = WAYS[way](secret)

    shown = Redactor([secret]).redact_text(f"before {written} after")

    assert "***" in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    assert secret not in shown
    assert all(core_of(secret, offset=offset) not in shown.replace("\n", "") for offset in range(3))


@pytest.mark.parametrize("way", [way for way in WAYS if "base64" not in way and way not in ("mime", "as it is")])
def test_nothing_but_quotes_is_left_of_an_escaped_form(way: str) -> None:
    shown = Redactor([SECRET]).redact_text(WAYS[way](SECRET))

    assert set(shown.replace("***", "")) <= set("""'"[]{}\\ ,:1binerdp""")


@pytest.mark.parametrize("written", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("secret", ["abcd", "abcde", "abcdef", SECRET])
def test_base64_of_a_secret_alone_is_replaced_with_its_padding(secret: str, written: Callable[[bytes], bytes]) -> None:
    assert Redactor([secret]).redact_bytes(written(secret.encode())) == b"***"


@given(st.text(min_size=4, max_size=30).filter(lambda text: text.strip() == text), st.binary(), st.binary())
def test_base64_is_found_at_each_offset(secret: str, before: bytes, after: bytes) -> None:
    core = core_of(secret, offset=len(before) % 3).encode()
    written = base64.b64encode(before + secret.encode() + after)

    assert core in written
    assert core not in Redactor([secret]).redact_bytes(written) or not Redactor([secret])


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("other_break", ["\n", "\r\n"])
def test_each_line_is_replaced(line_break: str, other_break: str) -> None:
    redactor = Redactor([line_break.join(["first line", "abc", "", "  indented", "    ", '"quoted"', "last"])])

    assert redactor.redact_text("1 first line 2 abc 3 indented 4 last 5 lastly") == "1 *** 2 abc 3 *** 4 *** 5 ***ly"
    assert redactor.redact_text("a    b") == "a    b"
    assert redactor.redact_text('{"a": "\\"quoted\\""}') == '{"a": "***"}'
    whole = other_break.join(["first line", "abc", "", "  indented", "    ", '"quoted"', "last"])
    assert redactor.redact_text(f"[{whole}]") == "[***]"


def test_blanks_around_a_secret_may_be_lost() -> None:
    assert Redactor(["hunter22\n"]).redact_text("[hunter22] [hunter22\n]") == "[***] [***\n]"


@pytest.mark.parametrize(
    "value", ["", "abc", "true", "false", "null", " true ", 123, None, True, ["abc"], {"hunter22": 1}]
)
def test_what_is_short_or_stands_everywhere_is_not_searched_for(value: object) -> None:
    redactor = Redactor([value])

    assert not redactor
    assert redactor.redact_text("abc true false null 123 None hunter22") == "abc true false null 123 None hunter22"


def test_each_text_of_a_structured_value_counts() -> None:
    value = {"a": ["one1", {"b": "two2", "c": 5555}], "key1": "three", "short": "abc"}

    assert secret_texts([value, "four", 5.25, 10**5000, True]) == {"one1", "two2", "three", "four", "5.25"}


def test_deep_value_is_walked_without_recursion() -> None:
    value: object = "hunter22"
    for _ in range(100_000):
        value = [value]

    assert secret_texts([value]) == {"hunter22"}


def test_lone_surrogate_is_a_character() -> None:
    assert Redactor(["a\ud800bc"]).redact_text("x a\ud800bc \udfff") == "x *** \udfff"


@given(st.text(min_size=1, max_size=300))
def test_start_of_a_form_is_the_form_of_the_start(text: str) -> None:
    """What makes it possible to search for large secrets without writing them in full."""
    for way in (*ESCAPES, *EVERYTHING_ESCAPED):
        assert way(text * 3)[:64] == way((text * 3)[:160])[:64]


@given(st.text())
def test_text_survives_as_bytes(text: str) -> None:
    assert from_bytes(to_bytes(text)) == text


def test_ordinary_secret_has_few_forms() -> None:
    """Their number is what a run waits for and what the automaton's memory is made of."""
    assert len({form.beginning for form in forms_of(["hunter22"])}) <= 16
