"""``manage.py up`` as its users meet it: starting, refusing, stopping, being killed."""

import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.processes import ADMIN, BASE_DIR, Process, Processes, Up, free_port, wait_until

pytestmark = pytest.mark.e2e


def nobody_is_startled(output: str) -> bool:
    return "Traceback" not in output and "Exception" not in output


def test_first_start_shows_where_things_are_and_works(
    processes: Processes, empty_stack: dict[str, str], tmp_path: Path
) -> None:
    product = processes.up(tmp_path, **empty_stack)
    product.wait_for(r"Ctrl-C stops it\.")

    output = product.output()
    assert f"API     {product.url}/api/v1/" in output
    assert f"OpenAPI {product.url}/docs" in output
    assert f"Admin   {product.url}/admin/" in output
    assert ADMIN["password"] not in output
    with product.client() as client:
        workers = wait_until(lambda: client.get("/api/v1/workers").json()["data"], what="a worker")
        body = {"action_ref": "core.echo", "parameters": {"message": "hello, world"}}
        execution = client.post("/api/v1/executions/execute", json=body).json()["data"]["id"]

        def ended() -> dict | None:
            row = client.get(f"/api/v1/executions/{execution}").json()["data"]
            return row if row["status"] in ("completed", "failed", "timeout", "abandoned") else None

        row = wait_until(ended, what="the end of the execution")
    assert [worker["status"] for worker in workers] == ["active"]
    assert (row["status"], row["result"]["stdout"]) == ("completed", "hello, world\n")


def test_health_answers_from_the_first_second(
    processes: Processes, empty_stack: dict[str, str], tmp_path: Path
) -> None:
    product = processes.up(tmp_path, **empty_stack)
    began = time.monotonic()
    wait_until(lambda: product.status("/health"), what="an answer")
    answered_after = time.monotonic() - began

    seen = {"/health/ready": {product.status("/health/ready")}, "/api/v1/packs": {product.status("/api/v1/packs")}}
    alive = {product.status("/health"), product.status("/health/live"), product.status("/healthz")}
    while product.status("/ready") != 200:
        for path, statuses in seen.items():
            statuses.add(product.status(path))

    assert answered_after < 15  # 0.4 s on an idle machine
    assert alive == {200}
    assert seen == {"/health/ready": {503}, "/api/v1/packs": {503}} or seen["/health/ready"] <= {200, 503}
    assert product.status("/api/v1/packs") == 401


def test_password_made_up_at_the_first_start_is_shown_once(
    processes: Processes, empty_stack: dict[str, str], tmp_path: Path
) -> None:
    nothing_configured = {"ATTUNE_ADMIN_LOGIN": "", "ATTUNE_ADMIN_PASSWORD": ""}
    first = processes.up(tmp_path, **empty_stack, **nothing_configured)
    shown = first.wait_for(r"Sign in as admin with the password (\S+)")
    first.wait_for(r"Ctrl-C stops it")
    first.interrupt()
    first.wait()

    second = processes.up(tmp_path, **empty_stack, **nothing_configured)
    second.wait_for(r"Ctrl-C stops it")

    assert "with the password" not in second.output()
    assert shown[1] not in second.output()
    kept = [file for file in tmp_path.rglob("*") if file.is_file() and shown[1].encode() in file.read_bytes()]
    assert kept == []


def test_keys_are_readable_by_their_owner_only(processes: Processes, stack: dict[str, str], tmp_path: Path) -> None:
    product = processes.up(tmp_path, **stack)
    product.wait_ready()

    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("jwt_secret", "encryption_key")}

    assert modes == {"jwt_secret": 0o600, "encryption_key": 0o600}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_it_cleanly_within_seconds(
    processes: Processes, stack: dict[str, str], tmp_path: Path, number: int
) -> None:
    product = processes.up(tmp_path, **stack)
    product.wait_for(r"Ctrl-C stops it")
    began = time.monotonic()

    product.send(number)

    assert product.wait() == 0
    assert time.monotonic() - began < 40
    assert product.output().rstrip().endswith("Attune has stopped.")
    assert nobody_is_startled(product.output())
    assert product.status("/health") is None


def test_ctrl_c_while_starting_ends_it_without_a_traceback(
    processes: Processes, empty_stack: dict[str, str], tmp_path: Path
) -> None:
    for delay_seconds in (0.1, 0.4, 0.8, 1.2):
        product = processes.up(tmp_path, **empty_stack)
        time.sleep(delay_seconds)  # another moment of the start each time
        product.interrupt()

        assert product.wait() in (0, 130, -signal.SIGINT)
        assert "apps" not in product.output() or nobody_is_startled(product.output())


def test_ctrl_c_stops_what_runs_after_three_seconds(
    processes: Processes, stack: dict[str, str], tmp_path: Path
) -> None:
    product = processes.up(tmp_path, **stack, ATTUNE_KILL_GRACE_SECONDS="1")
    product.wait_ready()
    execution = _sleeping(product)
    began = time.monotonic()

    product.interrupt()

    assert product.wait() == 0
    assert 2.5 < time.monotonic() - began < 40
    assert _status_after_restart(processes, tmp_path, stack, execution) == "abandoned"


def test_second_signal_skips_the_wait(processes: Processes, stack: dict[str, str], tmp_path: Path) -> None:
    product = processes.up(tmp_path, **stack, ATTUNE_KILL_GRACE_SECONDS="1", ATTUNE_SHUTDOWN_GRACE_SECONDS="60")
    product.wait_ready()
    _sleeping(product)
    began = time.monotonic()

    product.terminate()
    time.sleep(0.3)  # two keystrokes of a person
    product.interrupt()

    assert product.wait() == 0
    assert time.monotonic() - began < 40


def _sleeping(product: Up) -> int:
    """Start an execution that sleeps for a minute; return its id once it runs."""
    with product.client() as client:
        body = {"action_ref": "core.sleep", "parameters": {"seconds": 60}}
        execution = int(client.post("/api/v1/executions/execute", json=body).json()["data"]["id"])
        path = f"/api/v1/executions/{execution}"
        wait_until(lambda: client.get(path).json()["data"]["status"] == "running", what="running")
    return execution


def _status_after_restart(processes: Processes, state_dir: Path, stack: dict[str, str], execution: int) -> str:
    product = processes.up(state_dir, **stack)
    product.wait_ready()
    with product.client() as client:
        return str(client.get(f"/api/v1/executions/{execution}").json()["data"]["status"])


def test_second_start_on_the_same_state_directory_is_refused(
    processes: Processes, stack: dict[str, str], tmp_path: Path
) -> None:
    first = processes.up(tmp_path, **stack)
    first.wait_for(r"Ctrl-C stops it")

    second = processes.up(tmp_path, **stack)

    assert second.wait() == 2
    assert second.output() == (
        f"attune: Attune already runs on the state directory {tmp_path} (process {first.pid}). Stop that one, or name "
        "another directory in ATTUNE_STATE_DIR.\n"
    )
    assert first.status("/health/ready") == 200


def test_killed_product_starts_again(processes: Processes, stack: dict[str, str], tmp_path: Path) -> None:
    first = processes.up(tmp_path, **stack)
    first.wait_ready()
    execution = _sleeping(first)
    first.kill()

    second = processes.up(tmp_path, **stack)
    second.wait_ready()
    with second.client() as client:

        def settled() -> str | None:
            status = client.get(f"/api/v1/executions/{execution}").json()["data"]["status"]
            return status if status not in ("running", "scheduled") else None

        assert wait_until(settled, what="settling") == "abandoned"
        workers = client.get("/api/v1/workers").json()["data"]
    assert len(workers) == 1
    if not stack:
        check = subprocess.run(
            [sys.executable, "-c", "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute('PRAGMA integrity_check'))",
             str(tmp_path / "attune.sqlite3")], capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert check.stdout == "('ok',)\n"


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"ATTUNE_PROT": "1"}, "ATTUNE_PROT is not a setting of this product. Did you mean ATTUNE_PORT?"),
        ({"ATTUNE_PORT": "0x1"}, "ATTUNE_PORT must be a whole number from 1 to 65535, not '0x1'."),
        ({"ATTUNE_HOST": "host.invalid"}, "ATTUNE_HOST 'host.invalid' is not an address of this machine"),
        ({"ATTUNE_HOST": "192.0.2.1"}, "Cannot listen on 192.0.2.1 port"),
        ({"ATTUNE_JWT_SECRET": ""}, "ATTUNE_JWT_SECRET is empty or a placeholder."),
        ({"ATTUNE_JWT_SECRET": "changeme"}, "ATTUNE_JWT_SECRET is empty or a placeholder."),
        ({"ATTUNE_ENCRYPTION_KEY": "secret"}, "ATTUNE_ENCRYPTION_KEY is empty or a placeholder."),
        ({"ATTUNE_ENCRYPTION_KEY": "x" * 31}, "ATTUNE_ENCRYPTION_KEY has fewer than 32 characters."),
        ({"ATTUNE_LEASE_SECONDS": "20"}, "ATTUNE_LEASE_SECONDS (20) must be at least three times"),
        ({"DATABASE_URL": "oracle://host/name"}, "DATABASE_URL must be a URL that begins with sqlite://"),
        ({"DATABASE_URL": "postgres://a@127.0.0.1:1/name"}, "Cannot reach the database of DATABASE_URL"),
        (
            {"DATABASE_URL": "sqlite:////nowhere/at/all.sqlite3"},
            "Cannot use the database file /nowhere/at/all.sqlite3",
        ),
        ({"ATTUNE_ADMIN_PASSWORD": "short"}, "ATTUNE_ADMIN_PASSWORD must have 8 to 128 characters, it has 5."),
        ({"ATTUNE_PACKS_DIR": "/proc/packs"}, "Cannot write into /proc/packs"),
    ],
)
def test_environment_that_cannot_work_is_refused_in_a_sentence(
    processes: Processes, tmp_path: Path, environment: dict[str, str], words: str
) -> None:
    product = processes.up(tmp_path, **environment)

    assert product.wait() == 2
    output = product.output()
    assert output.startswith(f"attune: {words}")
    assert output.count("\n") == 1


@pytest.mark.sqlite
def test_port_that_is_taken_is_named(processes: Processes, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        product = processes.up(tmp_path, port=port)

        assert product.wait() == 2
    assert product.output() == (
        f"attune: Port {port} on 127.0.0.1 is taken by another program. Stop that one, or name another port in "
        "ATTUNE_PORT.\n"
    )


@pytest.mark.sqlite
@pytest.mark.parametrize("writable_keys", [False, True])
def test_state_directory_that_cannot_be_written_is_named(
    processes: Processes, tmp_path: Path, writable_keys: bool
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(0o555)
    secrets = {"ATTUNE_JWT_SECRET": "j" * 40, "ATTUNE_ENCRYPTION_KEY": "e" * 40} if writable_keys else {}

    product = processes.up(state, mortal=True, **secrets)

    assert product.wait() == 2
    assert re.fullmatch(
        rf"attune: Cannot write .*{state}.* \(Permission denied\)\. .*ATTUNE_STATE_DIR.*\n", product.output()
    )
    assert list(state.iterdir()) == []


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "argv",
    [
        [sys.executable, "manage.py", "check"],
        [sys.executable, "-m", "celery", "-A", "attune", "worker"],
        [sys.executable, "-m", "uvicorn", "attune.asgi:application"],
    ],
    ids=["manage.py", "celery", "asgi"],
)
def test_every_entry_refuses_a_bad_environment_alike(processes: Processes, tmp_path: Path, argv: list[str]) -> None:
    process = processes.any(argv, ATTUNE_STATE_DIR=str(tmp_path), ATTUNE_WORKER_SLOTS="many")

    assert process.wait() == 2
    assert process.output().splitlines() == [
        "attune: ATTUNE_WORKER_SLOTS must be a whole number from 1 to 1000, not 'many'. It means: executions at the "
        "same time."
    ]


@pytest.mark.sqlite
def test_celery_worker_on_the_broker_of_one_process_is_refused(processes: Processes, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "celery", "-A", "attune", "worker"]
    process = processes.any(argv, ATTUNE_STATE_DIR=str(tmp_path))

    assert process.wait() == 2
    assert process.output().startswith(
        "attune: CELERY_BROKER_URL is memory://, which reaches nobody outside one process."
    )
    assert nobody_is_startled(process.output())


def test_help_teaches_and_starts_nothing(processes: Processes, tmp_path: Path) -> None:
    process: Process = processes.any(
        [sys.executable, "manage.py", "up", "--help"], ATTUNE_STATE_DIR=str(tmp_path), ATTUNE_PORT=str(free_port())
    )

    assert process.wait() == 0
    assert "Ctrl-C stops it" in process.output()
    assert not (tmp_path / "attune.lock").exists()


def test_requests_are_answered_while_many_threads_write(
    processes: Processes, stack: dict[str, str], tmp_path: Path
) -> None:
    product = processes.up(tmp_path, **stack)
    product.wait_ready()
    statuses: list[int] = []

    def ask() -> None:
        with product.client() as client:
            for _ in range(10):
                body = {"action_ref": "core.noop", "parameters": {}}
                statuses.append(client.post("/api/v1/executions/execute", json=body).status_code)
                statuses.append(client.get("/api/v1/executions").status_code)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(set(statuses)) == [200, 201]
    assert len(statuses) == 160


def test_directory_of_the_product_is_where_it_runs(processes: Processes) -> None:
    """``manage.py`` may be called from anywhere: nothing depends on the current directory."""
    process = processes.any([sys.executable, str(BASE_DIR / "manage.py"), "scheduler", "--help"])

    assert process.wait() == 0
