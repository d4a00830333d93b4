"""A worker in this process: takes tasks and broadcasts at once and stops within milliseconds."""

import threading
import time
import uuid
from collections.abc import Iterator

import pytest
from celery import Celery, shared_task

from attune import broker
from attune.embedded import EmbeddedWorker

# CELERY_BROKER_URL would take the place of the broker named here.
pytestmark = pytest.mark.sqlite

RAN = threading.Semaphore(0)


@shared_task(name="tests.ring")
def ring() -> None:
    RAN.release()


@pytest.fixture
def app() -> Iterator[Celery]:
    broker.install()
    app = Celery("embedded-test", broker=f"memory://{uuid.uuid4().hex}", set_as_current=False)
    app.conf.task_ignore_result = True
    app.conf.worker_prefetch_multiplier = 0
    yield app
    app.close()


@pytest.fixture
def worker(app: Celery) -> Iterator[EmbeddedWorker]:
    worker = EmbeddedWorker(app, slots=2)
    worker.start()
    worker.wait_ready()
    yield worker
    assert worker.stop(timeout_seconds=60)


def test_task_runs_at_once(app: Celery, worker: EmbeddedWorker) -> None:
    delays = []
    for _ in range(20):
        began = time.monotonic()
        app.send_task("tests.ring")
        assert RAN.acquire(timeout=60)
        delays.append(time.monotonic() - began)

    assert sorted(delays)[10] < 0.3


def test_remote_control_answers(app: Celery, worker: EmbeddedWorker) -> None:
    assert app.control.ping(timeout=30, limit=1) == [{"attune@embedded": {"ok": "pong"}}]


def test_idle_worker_stops_within_milliseconds(app: Celery) -> None:
    took = []
    for _ in range(3):
        worker = EmbeddedWorker(app)
        worker.start()
        worker.wait_ready()
        began = time.monotonic()
        assert worker.stop(timeout_seconds=60)
        took.append(time.monotonic() - began)

    assert min(took) < 1


def test_worker_can_be_started_after_another_one(app: Celery) -> None:
    for _ in range(2):
        worker = EmbeddedWorker(app)
        worker.start()
        worker.wait_ready()
        assert worker.stop(timeout_seconds=60)
