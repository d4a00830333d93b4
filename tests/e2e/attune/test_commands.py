"""``manage.py attune_run`` beside a running product: what it prints, when, and how it ends."""

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes import BASE_DIR, Processes, Up

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite, pytest.mark.timeout(180)]  # the product in one process

PACK = {
    "pack.yaml": "ref: e2e\nlabel: E2E\nversion: 1.0.0\n",
    "actions/count.yaml": """
ref: e2e.count
label: Count
runner_type: shell
entry_point: 'for i in $(seq 1 "$n"); do echo "line $i"; done; echo done >&2; exit "$code"'
parameters:
  n: {type: integer, default: 3}
  code: {type: integer, default: 0}
""",
    "actions/tick.yaml": """
ref: e2e.tick
label: Tick
runner_type: shell
entry_point: 'while true; do echo $EPOCHREALTIME; sleep 0.3; done'
""",
    "triggers/knock.yaml": "ref: e2e.knock\nlabel: Somebody knocks\n",
    "rules/open.yaml": """
ref: e2e.open
label: Open
trigger_ref: e2e.knock
action_ref: e2e.count
conditions: {expression: event.payload.times > 0}
action_params: {n: "{{ event.payload.times }}", code: "{{ event.payload.code | default(0) }}"}
""",
}
# 0.25 s where nothing else runs (execution.md section 9); a busy machine may take longer.
PROMPTLY_SECONDS = 3.0


@pytest.fixture
def up(tmp_path: Path, processes: Processes, migrated: Callable[[Path], Path]) -> Up:
    for name, text in PACK.items():
        path = tmp_path / "pack" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    up = processes.up(migrated(tmp_path / "state"))
    up.wait_ready()
    return up


def started(tmp_path: Path, *words: str) -> "subprocess.Popen[str]":
    """Start a command on the same state directory, as somebody in another terminal does."""
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "ATTUNE_STATE_DIR": str(tmp_path / "state")}
    argv = [sys.executable, "manage.py", *words]
    return subprocess.Popen(
        argv, cwd=BASE_DIR, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def done(tmp_path: Path, *words: str) -> tuple[int, str, str]:
    command = started(tmp_path, *words)
    out, err = command.communicate(timeout=60)
    return command.returncode, out, err


def test_a_run_prints_what_the_action_prints_and_ends_as_it_ends(tmp_path: Path, up: Up) -> None:
    assert done(tmp_path, "pack_register", str(tmp_path / "pack"))[:2] == (0, "Pack e2e 1.0.0 was registered.\n")

    ok = done(tmp_path, "attune_run", "core.echo", "--param", "message=hello, world", "--follow")
    waited = done(tmp_path, "attune_run", "e2e.count", "--param", "n=2", "--param", "code=7", "--wait")
    late = done(tmp_path, "attune_run", "core.sleep", "--param", "seconds=60", "--timeout", "1", "--follow")
    wrong = done(tmp_path, "attune_run", "core.nothing")

    assert ok == (0, "hello, world\n", "")
    assert waited[:2] == (7, "line 1\nline 2\n")
    assert waited[2].startswith("done\nattune: Execution 2 ended failed")
    assert (late[0], late[2]) == (124, "attune: Execution 3 ended timeout: Execution timed out after 1 seconds\n")
    assert wrong[0] == 2
    assert wrong[2].startswith("attune: There is no action 'core.nothing'.")
    listed = done(tmp_path, "execution_list")[1].splitlines()
    assert [line.split()[:3] for line in listed[1:]] == [
        ["3", "core.sleep", "timeout"], ["2", "e2e.count", "failed"], ["1", "core.echo", "completed"],
    ]  # fmt: skip


def test_a_line_is_seen_while_the_next_is_awaited_and_ctrl_c_cancels(tmp_path: Path, up: Up) -> None:
    done(tmp_path, "pack_register", str(tmp_path / "pack"))
    command = started(tmp_path, "attune_run", "e2e.tick", "--follow")
    assert command.stdout is not None
    delays = []
    for _line in range(8):
        written_at = float(command.stdout.readline())
        delays.append(time.time() - written_at)

    command.send_signal(signal.SIGINT)
    _out, err = command.communicate(timeout=30)

    assert command.returncode == 130
    assert statistics.median(delays) < PROMPTLY_SECONDS
    assert err.splitlines() == [
        "attune: Cancelling execution 1; Ctrl-C again leaves it to itself",
        "attune: Execution 1 ended cancelled: Execution cancelled by user",
    ]


def test_without_a_worker_it_says_what_it_waits_for(tmp_path: Path, up: Up) -> None:
    up.wait_for("is registered as 1")
    up.interrupt()
    up.wait()
    command = started(tmp_path, "attune_run", "core.echo", "--param", "message=x", "--follow")
    assert command.stderr is not None

    first = command.stderr.readline()
    command.send_signal(signal.SIGINT)
    command.communicate(timeout=30)

    assert first.startswith("attune: Execution 1 waits: No worker can take it: ")
    assert command.returncode == 130


def test_an_event_is_sent_and_what_follows_is_waited_for(tmp_path: Path, up: Up) -> None:
    assert done(tmp_path, "pack_register", str(tmp_path / "pack"))[0] == 0

    code, out, err = done(tmp_path, "event_emit", "e2e.knock", "--payload", '{"times": 2}', "--wait")
    failed = done(tmp_path, "event_emit", "e2e.knock", "--payload", '{"times": 1, "code": 7}', "--wait", "--json")
    unheard = done(tmp_path, "event_emit", "e2e.knock", "--payload", '{"times": 0}', "--wait")

    assert (code, out.splitlines()[1:]) == (0, ["  e2e.open: matched, execution 1", "line 1", "line 2"])
    assert err == "done\nattune: Execution 1 of e2e.count ended completed\n"
    assert (failed[0], json.loads(failed[1])["decisions"][0]["outcome"]) == (7, "matched")
    assert "Execution 2 of e2e.count ended failed" in failed[2]
    assert (unheard[0], unheard[2]) == (1, "attune: Nothing was started\n")
    assert "event.payload.times: 0 is not > 0" in unheard[1]
