"""
Figures of the whole product as its users meet it: HTTP in, idle cost.

Starts ``manage.py up`` with the stack in the environment; prints one JSON object.
"""

import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.figures import median_ms, timed

ROOT = Path(__file__).resolve().parent.parent
PASSWORD = "bench-password-1"  # of a server that lives for a minute on loopback
IDLE_SECONDS = 30
SUBMITS = 100
ACCEPTS = 400
CLIENTS = 4
TICKS = os.sysconf("SC_CLK_TCK")


class Client:
    """One kept-alive connection with a token."""

    def __init__(self, port: int, token: str = "") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        text = None if body is None else json.dumps(body)
        self._connection.request(method, path, text, self._headers)
        answer = self._connection.getresponse()
        content = answer.read()
        assert answer.status < 300, (method, path, answer.status, content[:500])
        return json.loads(content) if content else None


def start(port: int) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "ATTUNE_PORT": str(port),
        "ATTUNE_ADMIN_LOGIN": "bench",
        "ATTUNE_ADMIN_PASSWORD": PASSWORD,
    }
    log = Path(os.environ["ATTUNE_STATE_DIR"]).with_suffix(".log").open("wb")
    server = subprocess.Popen(
        [sys.executable, "manage.py", "up"], cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
    )
    ends_at = time.monotonic() + 120
    while time.monotonic() < ends_at:
        try:
            Client(port).ask("GET", "/health/ready")
        except (OSError, AssertionError):
            assert server.poll() is None, "the server ended"
            time.sleep(0.1)
        else:
            return server
    raise TimeoutError("the server did not get ready")


def submit_to_recorded(client: Client) -> dict[str, float]:
    """POST one core.echo, then wait for its end with the API's own ``wait``; beside a GET that does nothing."""
    body = {"action_ref": "core.echo", "parameters": {"message": "hello, world"}}
    samples, floor = [], []
    for _ in range(SUBMITS):
        began = time.perf_counter()
        row = client.ask("POST", "/api/v1/executions/execute", body)["data"]
        ended = client.ask("GET", f"/api/v1/executions/{row['id']}?wait=30")["data"]
        samples.append(time.perf_counter() - began)
        assert ended["status"] == "completed", ended
        floor.append(timed(lambda: client.ask("GET", "/health")))
    return {"p50_ms": median_ms(samples), "floor_ms": median_ms(floor)}


def accept_rate(port: int, token: str) -> dict[str, float]:
    """Requests per second that are answered 201, from several connections; beside GET /health in the same way."""
    body = {"action_ref": "core.noop", "delay_seconds": 86400}

    def rate(method: str, path: str, payload: Any) -> float:
        clients = [Client(port, token) for _ in range(CLIENTS)]

        def work(client: Client) -> None:
            for _ in range(ACCEPTS // CLIENTS):
                client.ask(method, path, payload)

        threads = [threading.Thread(target=work, args=(client,)) for client in clients]

        def all_of_them() -> None:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        return ACCEPTS / timed(all_of_them)

    return {
        "per_second": statistics.median(rate("POST", "/api/v1/executions/execute", body) for _ in range(3)),
        "floor_per_second": rate("GET", "/health", None),
    }


def idle(server: subprocess.Popen[bytes]) -> dict[str, float]:
    """Share of one core and resident memory of everything the server started, when nothing happens."""
    time.sleep(5)
    before = _cpu_seconds(server.pid)
    time.sleep(IDLE_SECONDS)
    used = _cpu_seconds(server.pid) - before
    return {"cpu_percent": 100 * used / IDLE_SECONDS, "rss_mb": sum(_rss_mb(pid) for pid in _family(server.pid))}


def _family(pid: int) -> list[int]:
    found = [pid]
    for process in found:
        for children in Path(f"/proc/{process}/task").glob("*/children"):
            found += [int(child) for child in children.read_text().split()]
    return found


def _cpu_seconds(pid: int) -> float:
    total = 0
    for process in _family(pid):
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def _rss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):  # shared pages once: the family shares its interpreter
            return int(line.split()[1]) / 1024
    return 0.0


def main() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = start(port)
    try:
        answer = Client(port).ask("POST", "/auth/login", {"login": "bench", "password": PASSWORD})
        token = answer["data"]["access_token"]
        quiet = idle(server)
        figures = {
            "submit": submit_to_recorded(Client(port, token)),
            "accept": accept_rate(port, token),
            "idle": quiet,
        }
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
