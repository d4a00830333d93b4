"""The search for canaries finds one in each writing, and nothing where there is none."""

import base64
import binascii
import html
import json
import shlex
from textwrap import wrap
from urllib.parse import quote, quote_plus

import pytest

from tests.canaries import Canaries

WRITTEN = {
    "as it is": lambda secret: secret,
    "JSON": lambda secret: json.dumps({"a": [secret]}),
    "JSON in JSON": lambda secret: json.dumps(json.dumps(secret)),
    "Python": repr,
    "bytes of Python": lambda secret: repr(secret.encode()),
    "URL": lambda secret: quote(secret, safe=""),
    "form": quote_plus,
    "each byte for a URL": lambda secret: "".join(f"%{byte:02X}" for byte in secret.encode()),
    "each letter for JSON": lambda secret: "".join(f"\\u{ord(letter):04x}" for letter in secret),
    "HTML": html.escape,
    "shell": shlex.quote,
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "base64, one before": lambda secret: base64.b64encode(b"x" + secret.encode()).decode(),
    "base64, two before": lambda secret: base64.b64encode(b"xx" + secret.encode()).decode(),
    "base64 for URLs": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
    "base64 twice": lambda secret: base64.b64encode(base64.b64encode(secret.encode())).decode(),
    "base64 in lines": lambda secret: base64.encodebytes(20 * b"x" + secret.encode() + 20 * b"y").decode(),
    "base64 in short lines": lambda secret: "\n".join(wrap(base64.b64encode(secret.encode()).decode(), 8)),
    "hexadecimal": lambda secret: secret.encode().hex(),
    "HEXADECIMAL": lambda secret: secret.encode().hex().upper(),
    "hexadecimal in groups": lambda secret: secret.encode().hex(" ", 2),
    "its end": lambda secret: secret[len(secret) // 2 :],
}


@pytest.mark.parametrize("writing", WRITTEN)
def test_canary_is_found_however_it_is_written(writing: str) -> None:
    canaries = Canaries()
    secret = canaries.new("the key")
    canaries.new("another")
    text = f"before {WRITTEN[writing](secret)} after"

    assert {finding.canary for finding in canaries.search(text.encode(), "a log")} == {"the key"}


def test_each_line_of_a_canary_is_found() -> None:
    canaries = Canaries()
    lines = canaries.lines("a certificate", 3).splitlines()

    found = [finding.canary for line in lines for finding in canaries.search(line.encode(), "a log")]

    assert found == ["a certificate, line 1", "a certificate, line 2", "a certificate, line 3"]


def test_canary_that_is_made_later_is_found_too() -> None:
    canaries = Canaries()
    canaries.new("first")
    assert canaries.search(b"nothing", "a log") == []

    token = canaries.know("a token", "attune_it_0123456789abcdef")

    assert [finding.canary for finding in canaries.search(token.encode(), "a log")] == ["a token"]


def test_nothing_is_found_where_there_is_none() -> None:
    canaries = Canaries()
    other = Canaries().new("of somebody else")
    canaries.new("ours")

    assert canaries.search(other.encode() + binascii.hexlify(other.encode()) + b"***", "a log") == []
