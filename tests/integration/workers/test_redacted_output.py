"""Secrets in what real programs print never reach the log, and nobody waits for that."""

import base64
import shutil
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from apps.core.redaction import Redactor
from apps.workers import process
from apps.workers.commands import Command, Ended
from apps.workers.jobs import RunControl, RunnerServices

pytestmark = pytest.mark.sqlite  # no database: once is enough

CANARY = 'it\'s "a $canary" & /ä/ \\ 7f3e100% #1'
PATH = "/usr/local/bin:/usr/bin:/bin"


def command(script: str, directory: Path, *secrets: str, stdin: str = "") -> Command:
    return Command(
        argv=("bash", "-c", script),
        env={"PATH": PATH, "LC_ALL": "C.UTF-8"},
        directory=str(directory),
        stdin=stdin.encode(),
        timeout_seconds=30,
        stdout_path=directory / "log" / "stdout.log",
        output_filter=Redactor(secrets).stream,
    )


def in_the_log(directory: Path) -> bytes:
    log = directory / "log" / "stdout.log"
    return log.read_bytes() if log.exists() else b""


def wait_for_log(directory: Path, text: bytes) -> None:
    end = time.monotonic() + 60
    while in_the_log(directory) != text:
        assert time.monotonic() < end, in_the_log(directory)
        threading.Event().wait(0.005)


@pytest.mark.parametrize(
    ("begun", "shown", "log"),
    [("hu", b"> hu", b"> hu*** <\n"), ("hunter", b"> ***", b"> *** <\n")],
)
def test_beginning_of_a_secret_is_not_waited_for(
    services: RunnerServices, tmp_path: Path, begun: str, shown: bytes, log: bytes
) -> None:
    script = f"printf '> {begun}'; until [ -e go ]; do sleep 0.01; done; echo '{'hunter22'[len(begun) :]} <'"
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(process.run, command(script, tmp_path, "hunter22"), RunControl(), services)
        wait_for_log(tmp_path, shown)
        (tmp_path / "go").touch()
        ended: Ended = running.result(20)

    assert (ended.returncode, in_the_log(tmp_path)) == (0, log)


def test_secret_printed_letter_by_letter_is_found(services: RunnerServices, tmp_path: Path) -> None:
    script = "for letter in a h u n t e r 2 2 b; do printf $letter; sleep 0.01; done"

    process.run(command(script, tmp_path, "hunter22"), RunControl(), services)

    assert in_the_log(tmp_path) == b"a***b"


SHELL = {
    "as it is": 'echo "$canary"',
    "printf %q": 'printf "%q\\n" "$canary"',
    "@Q": 'echo "${canary@Q}"',
    "declare": "declare -p canary",
    "trace": 'exec 2>&1; set -x; : "$canary"',
    "set": "set | grep ^canary=",
    "base64": 'printf %s "$canary" | base64',
    "base64 of a line": 'echo "$canary" | base64',
    "base64, 1 before": 'printf "x%s" "$canary" | base64',
    "base64, 2 before": 'printf "xx%s" "$canary" | base64',
    "base64 in lines": 'for before in "" x xx; do (printf "%s%50s" "$before"; printf %s "$canary") | base64; done',
    "base64 in short lines": '(printf %50s; printf %s "$canary") | base64 -w 60',
}
PYTHON = {
    "json": "json.dumps(c)",
    "json, plain": "json.dumps({c: [c]}, ensure_ascii=False)",
    "json in json": "json.dumps(json.dumps({'a': c}))",
    "repr": "repr([c, {c: c.encode()}])",
    "quote": "quote(c) + ' ' + quote(c, safe='') + ' ' + quote_plus(c) + ' ' + urlencode({'c': c})",
    "shlex": "shlex.join(['echo', c])",
    "base64url": "urlsafe_b64encode(c.encode()).decode()",
    "basic": "b64encode(b'me:' + c.encode()).decode()",
    "error": "f'{ValueError(c)!r}'",
}
OTHERS = {
    "jq": "jq -R . <<<$canary; jq -aR . <<<$canary; jq -rR '@uri, @sh, @base64, @json, @text' <<<$canary",
    "node": "canary=$canary node -e 'const c = process.env.canary; console.log([c], {c}, JSON.stringify({c}), "
    "encodeURIComponent(c), encodeURI(c), new URLSearchParams({c}).toString(), Buffer.from(c).toString(`base64url`))'",
    "perl": "canary=$canary perl -MData::Dumper -e 'print Dumper($ENV{canary})'",
    "openssl": "printf '%s' \"$canary\" | openssl base64",
}


def traces_of(canary: str, text: str) -> list[str]:
    """Return what parts of a canary can be read in a text: some words, and its base64 at each offset."""
    parts = ["canary", "canary%22", "7f3e100"]
    for offset in range(3):
        data = bytes(offset) + canary.encode()
        parts.append(base64.b64encode(data).decode()[(0, 2, 3)[offset] : 8 * len(data) // 6])
    joined = text.replace("\n", "")
    return [part for part in parts if part in joined.replace("canary=", "").replace("-- canary", "")]


@pytest.mark.parametrize("name", [*SHELL, *OTHERS])
def test_canary_in_shell_is_not_in_the_log(services: RunnerServices, tmp_path: Path, name: str) -> None:
    if name in OTHERS and not shutil.which(name, path=PATH):
        pytest.skip(f"{name} is not installed")
    script = "IFS= read -r canary; " + {**SHELL, **OTHERS}[name]

    ended = process.run(command(script, tmp_path, CANARY, stdin=CANARY + "\n"), RunControl(), services)

    log = in_the_log(tmp_path).decode()
    assert ended.returncode == 0
    assert "***" in log
    assert traces_of(CANARY, log) == []


@pytest.mark.parametrize("name", PYTHON)
def test_canary_in_python_is_not_in_the_log(services: RunnerServices, tmp_path: Path, name: str) -> None:
    program = (
        "import json, shlex, sys; from base64 import *; from urllib.parse import *; "
        f"c = sys.stdin.readline().rstrip(chr(10)); print({PYTHON[name]})"
    )
    (tmp_path / "program.py").write_text(program)
    script = f"{sys.executable} program.py"

    ended = process.run(command(script, tmp_path, CANARY, stdin=CANARY + "\n"), RunControl(), services)

    log = in_the_log(tmp_path).decode()
    assert ended.returncode == 0
    assert "***" in log
    assert traces_of(CANARY, log) == []
