"""The file sensor as a program, against a server that is not always well."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jwt
import pytest

from tests.processes import wait_until

FILE = Path(__file__).parents[3] / "packs" / "core" / "sensors" / "file_sensor.py"
REF = "core.file_sensor"


def token(*, lives_seconds=86_400, age_seconds=0, name="first"):
    now = int(time.time())
    claims = {
        "iat": now - age_seconds,
        "exp": now - age_seconds + lives_seconds,
        "jti": name,
        "metadata": {"trigger_types": ["core.filechange"]},
    }
    return jwt.encode(claims, "k" * 32)


class FakeServer:
    """Answers like the API: ``moods`` are the next answers to events, (status, headers); then all is well."""

    def __init__(self):
        self.moods = deque()
        self.events = []
        self.tokens = []
        self.renewals = []
        self.state = {"version": 1, "rules": [], "changes": []}
        self.renewed = token(name="renewed")
        self._changed = threading.Condition()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_arguments):
                return

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.tokens.append(self.headers["Authorization"].removeprefix("Bearer "))
                if self.path == "/auth/sensor-token":
                    outer.renewals.append(body)
                    self.answer(200, {"data": {"token": outer.renewed}})
                    return
                status, headers = outer.moods.popleft() if outer.moods else (201, {})
                outer.events.append((status, self.headers["Idempotency-Key"], body))
                self.answer(status, {"data": {"id": 1}}, headers)

            def do_GET(self):
                if "wait" in self.path:
                    with outer._changed:
                        outer._changed.wait_for(lambda: f"version={outer.state['version']}&" not in self.path, 30)
                self.answer(200, {"data": outer.state})

            def answer(self, status, data, headers=None):
                content = json.dumps(data).encode()
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def change(self, rules):
        with self._changed:
            self.state = {"version": self.state["version"] + 1, "rules": rules, "changes": []}
            self._changed.notify_all()

    def stored(self):
        return [
            (body["payload"]["type"], Path(body["payload"]["path"]).name) for s, _, body in self.events if s == 201
        ]

    def close(self):
        self.change([])
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server():
    server = FakeServer()
    yield server
    server.close()


@pytest.fixture
def inbox(tmp_path):
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


def rule(folder, *, number=5, **params):
    params = {"path": str(folder), "interval_seconds": 0.1, **params}
    return {"id": number, "ref": f"lab.r{number}", "trigger_ref": "core.filechange", "trigger_params": params}


@pytest.fixture
def start(server):
    """Start the program with these rules; wait until it has looked once."""
    started = []

    def make(*rules, with_token=None):
        server.state["rules"] = list(rules)
        environment = {
            "ATTUNE_API_URL": server.url,
            "ATTUNE_API_TOKEN": with_token or token(),
            "ATTUNE_SENSOR_REF": REF,
            "ATTUNE_SENSOR_TRIGGERS": json.dumps(list(rules)),
        }
        process = subprocess.Popen(
            [sys.executable, "-u", str(FILE)], env=environment, stderr=subprocess.PIPE, text=True
        )
        lines = []
        reader = threading.Thread(target=lambda: lines.extend(iter(process.stderr.readline, "")), daemon=True)
        reader.start()
        started.append((process, reader))
        wait_until(lambda: sum("Watching" in line for line in list(lines)) == len(rules), what="its first look")
        process.lines = lines
        return process

    yield make
    for process, reader in started:
        process.kill()
        process.wait()
        reader.join()
        process.stderr.close()


def test_events_name_their_rule(server, start, inbox):
    (inbox / "old").write_text("x")
    start(rule(inbox))

    (inbox / "new").write_text("abc")

    wait_until(lambda: server.events)
    _, key, body = server.events[0]
    assert (body["trigger_ref"], body["trigger_instance_id"]) == ("core.filechange", "rule_5")
    assert {name: body["payload"][name] for name in ("type", "path", "size_bytes")} == {
        "type": "created", "path": str(inbox / "new"), "size_bytes": 3,
    }  # fmt: skip
    assert len(key) == 32


@pytest.mark.parametrize(
    "mood", [(503, {}), (429, {"Retry-After": "1"}), (500, {}), (409, {})], ids=lambda mood: str(mood[0])
)
def test_event_is_sent_again_under_its_key_until_it_is_taken(server, start, inbox, mood):
    server.moods.extend([mood, mood])
    start(rule(inbox))

    (inbox / "new").write_text("abc")

    wait_until(lambda: server.stored())
    assert [status for status, _, _ in server.events] == [mood[0], mood[0], 201]
    assert len({key for _, key, _ in server.events}) == 1


def test_event_that_is_refused_for_good_holds_up_no_other(server, start, inbox):
    server.moods.append((422, {}))
    start(rule(inbox))

    (inbox / "first").write_text("abc")
    wait_until(lambda: server.events)
    (inbox / "second").write_text("abc")

    wait_until(lambda: server.stored())
    assert server.stored() == [("created", "second")]


def test_wanted_kinds_only(server, start, inbox):
    start(rule(inbox, events=["deleted"]))

    def vanished():
        (inbox / "file").write_text("x")
        time.sleep(0.3)  # mostly time enough to be seen
        (inbox / "file").unlink()
        return server.stored()

    wait_until(vanished)
    assert set(server.stored()) == {("deleted", "file")}


def test_rules_that_change_leave_the_others_undisturbed(server, start, inbox, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    process = start(rule(inbox))

    server.change([rule(inbox), rule(other, number=6)])
    wait_until(lambda: sum("Watching" in line for line in process.lines) == 2)
    (other / "x").write_text("x")
    wait_until(lambda: ("created", "x") in server.stored())

    third = tmp_path / "third"
    third.mkdir()
    server.change([rule(other, number=6), rule(third, number=7)])
    wait_until(lambda: sum("Watching" in line for line in process.lines) == 3, what="the change taken in")
    (inbox / "unwatched").write_text("x")
    (other / "y").write_text("x")
    wait_until(lambda: ("created", "y") in server.stored())
    assert ("created", "unwatched") not in server.stored()
    assert sum("Watching" in line for line in process.lines) == 3


def test_token_is_renewed_when_half_of_its_time_is_over(server, start, inbox):
    start(rule(inbox), with_token=token(lives_seconds=1000, age_seconds=600))

    wait_until(lambda: server.renewals)
    (inbox / "new").write_text("x")
    wait_until(lambda: server.stored())
    assert server.renewals == [{"sensor_ref": REF, "trigger_types": ["core.filechange"]}]
    assert server.tokens[-1] == server.renewed


def test_token_that_is_not_accepted_ends_it(server, start, inbox):
    server.moods.append((401, {}))
    process = start(rule(inbox))

    (inbox / "new").write_text("x")

    assert process.wait(60) == 1


def test_sigterm_ends_it_at_once(server, start, inbox):
    process = start(rule(inbox))

    process.send_signal(signal.SIGTERM)

    assert process.wait(30) == 0


def test_settings_that_cannot_be_used_are_told(server, start, inbox):
    process = start()
    server.change([rule(inbox, path=""), rule(inbox, number=6)])

    wait_until(lambda: any("lab.r5 is not served: `path`" in line for line in process.lines))
    wait_until(lambda: any("Watching" in line for line in process.lines))
