"""The buffer between what happens and the audit table."""

import json
import os
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pytest

from apps.identity.audit.entry import Entry
from apps.identity.audit.trail import Trail
from tests.processes import wait_until

NOW = datetime(2026, 1, 31, tzinfo=UTC)


class Store:
    """Keeps entries in memory; it can be away."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.batches: list[int] = []
        self.tries = 0
        self.there = threading.Event()
        self.there.set()

    def __call__(self, entries: Sequence[Entry]) -> None:
        self.tries += 1
        if not self.there.is_set():
            raise OSError("away")
        self.kept += [entry.columns["event_type"] for entry in entries]
        self.batches.append(len(entries))


def entry(number: int) -> Entry:
    return Entry(NOW, {"event_type": str(number)})


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def trail(store: Store) -> Iterator[Trail]:
    trail = Trail(store, capacity=50)
    yield trail
    store.there.set()
    assert trail.close(10)


def test_entries_are_written_by_themselves_in_their_order(trail: Trail, store: Store) -> None:
    for number in range(30):
        trail.add(entry(number))

    wait_until(lambda: len(store.kept) == 30)
    assert store.kept == [str(number) for number in range(30)]
    assert store.batches == [30]
    assert len(trail) == 0


def test_batches_are_small(store: Store) -> None:
    trail = Trail(store)
    store.there.clear()
    for number in range(350):
        trail.add(entry(number))
    store.there.set()

    assert trail.close(10)
    assert store.batches == [100, 100, 100, 50]


def test_flush_waits_for_what_was_added_and_for_no_batch_to_fill(trail: Trail, store: Store) -> None:
    trail.add(entry(1))

    assert trail.flush(5)
    assert store.kept == ["1"]
    assert trail.flush(0)


def test_full_buffer_makes_whoever_adds_wait_and_loses_nothing(trail: Trail, store: Store) -> None:
    store.there.clear()
    for number in range(50):
        trail.add(entry(number))
    added = threading.Event()

    def add_more() -> None:
        for number in range(50, 60):
            trail.add(entry(number))
        added.set()

    thread = threading.Thread(target=add_more)
    thread.start()
    wait_until(lambda: store.tries >= 2, what="a second try")
    waits = not added.is_set()
    store.there.set()
    thread.join(60)

    assert waits
    assert added.is_set()
    assert trail.flush(5)
    assert store.kept == [str(number) for number in range(60)]


def test_full_buffer_grows_slowly_and_in_the_end_goes_to_the_log(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    trail = Trail(store, capacity=2, longest_wait_seconds=0.01)
    store.there.clear()

    for number in range(23):
        trail.add(entry(number))

    assert len(trail) == 20
    logged = [record.getMessage() for record in caplog.records if record.getMessage().startswith("audit event {")]
    assert [json.loads(text.removeprefix("audit event "))["event_type"] for text in logged] == ["20", "21", "22"]
    store.there.set()
    assert trail.close(10)
    assert store.kept == [str(number) for number in range(20)]


def test_whoever_may_not_wait_goes_over_the_limit(trail: Trail, store: Store) -> None:
    store.there.clear()
    for number in range(60):
        trail.add(entry(number), may_wait=False)

    assert len(trail) == 60
    assert not trail.flush(0.01)


def test_store_that_was_away_gets_everything_once(
    trail: Trail, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    store.there.clear()
    for number in range(5):
        trail.add(entry(number))
    wait_until(lambda: store.tries >= 2, what="a second try")
    store.there.set()

    assert trail.flush(10)
    assert store.kept == ["0", "1", "2", "3", "4"]
    ours = [record.getMessage() for record in caplog.records if record.name == "apps.identity.audit.trail"]
    assert (
        ours
        == [
            "Audit events cannot be written just now and are kept: OSError: away",
            "Audit events are written again, after 0 s",
        ]
        or len(ours) == 2
    )


def test_end_without_a_database_leaves_the_events_in_the_log(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    trail = Trail(store)
    store.there.clear()
    trail.add(entry(1))

    assert not trail.close(0.05)
    texts = [record.getMessage() for record in caplog.records]
    assert "1 audit events could not be written before the end; they follow" in texts
    assert 'audit event {"created": "2026-01-31T00:00:00+00:00", "event_type": "1"}' in texts


def test_close_ends_the_thread_and_later_events_are_not_waited_for(store: Store) -> None:
    trail = Trail(store, capacity=1)
    trail.add(entry(1))
    assert trail.close(5)

    trail.add(entry(2))
    trail.add(entry(3))

    assert not [thread for thread in threading.enumerate() if thread.name == "audit" and thread.is_alive()]


def test_without_a_thread_a_flush_writes(store: Store) -> None:
    trail = Trail(store, background=False)
    trail.add(entry(1))
    kept_before = list(store.kept)

    assert trail.flush()
    assert (kept_before, store.kept, len(trail)) == ([], ["1"], 0)


def test_child_process_begins_with_an_empty_buffer(trail: Trail, store: Store) -> None:
    store.there.clear()
    trail.add(entry(1))

    pid = os.fork()
    if pid == 0:
        trail.after_fork()
        os._exit(len(trail))
    _pid, status = os.waitpid(pid, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert len(trail) == 1
