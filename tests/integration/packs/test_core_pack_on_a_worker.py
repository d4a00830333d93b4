"""The core pack's actions on a live worker: as everybody runs them."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from apps.actions.models import Action
from apps.executions.models import Execution
from apps.executions.services import ExecutionRequest, request_execution
from apps.executions.states import TERMINAL
from tests.processes import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("worker")]


def run(ref: str, **parameters: Any) -> Execution:
    execution = request_execution(ExecutionRequest(action=Action.objects.get(ref=ref), parameters=parameters))

    def ended() -> bool:
        execution.refresh_from_db()
        return execution.status in TERMINAL

    wait_until(ended, timeout_seconds=30, what=f"the end of {ref}")
    return execution


class Mirror(BaseHTTPRequestHandler):
    def log_message(self, *_arguments: Any) -> None:
        return

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(404)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def mirror() -> Any:
    server = HTTPServer(("127.0.0.1", 0), Mirror)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_http_request_keeps_the_types_of_a_json_body(mirror: str) -> None:
    sent = {"n": 1, "f": 1.5, "t": True, "none": None, "list": [{"a": "1"}], "a.b": "dot"}

    execution = run("core.http_request", url=mirror, method="POST", json_body=sent)

    assert execution.result is not None
    data = execution.result["data"]
    assert (execution.status, data["status_code"], data["success"]) == ("completed", 404, False)
    assert (data["json"], json.loads(data["body"])) == (sent, sent)


def test_http_request_without_an_answer_fails() -> None:
    execution = run("core.http_request", url="http://127.0.0.1:1/", timeout=5)

    assert execution.result is not None
    assert (execution.status, execution.exit_code, execution.result["data"]["status_code"]) == ("failed", 1, 0)


def test_http_request_gets_the_operators_list_of_networks(mirror: str, settings: Any) -> None:
    settings.HTTP_BLOCKED_NETWORKS = ["10.0.0.0/8", "127.0.0.0/8"]

    execution = run("core.http_request", url=mirror, method="POST", body="x")

    assert execution.result is not None
    assert execution.result["data"]["error"] == "the address of 127.0.0.1 is blocked"


def test_http_request_stops_at_its_own_time_limit() -> None:
    silent = HTTPServer(("127.0.0.1", 0), Mirror)  # listens, and never answers
    try:
        execution = run("core.http_request", url=f"http://127.0.0.1:{silent.server_port}/", timeout=0.5)
    finally:
        silent.server_close()

    assert execution.result is not None
    assert execution.result["data"]["error"] == "no answer within the time limit"


def test_noop_ends_with_the_exit_code() -> None:
    execution = run("core.noop", message="it's $(id)", exit_code=3)

    assert execution.result is not None
    assert (execution.status, execution.exit_code) == ("failed", 3)
    assert execution.result["stdout"] == "[NOOP] it's $(id)\nNo operation completed successfully\n"


def test_sleep_sleeps() -> None:
    execution = run("core.sleep", seconds=0.2, message="good night")

    assert execution.result is not None
    assert execution.result["stdout"] == "good night\nSlept for 0.2 seconds\n"
    assert execution.duration_ms is not None
    assert execution.duration_ms >= 200
