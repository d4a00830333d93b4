"""The in-memory broker: wakes at once, sleeps when idle, broadcasts, and can be interrupted."""

import threading
import time
import uuid

import pytest
from kombu import Connection, Consumer, Exchange, Producer, Queue

from attune import broker


@pytest.fixture
def url() -> str:
    """A broker nobody else knows."""
    broker.install()
    return f"memory://{uuid.uuid4().hex}"


def publish(url: str, queue: Queue, body: object) -> None:
    with Connection(url) as connection, connection.channel() as channel:
        Producer(channel).publish(body, exchange=queue.exchange, routing_key=queue.routing_key, declare=[queue])


class Listener:
    """A consumer in a thread, the way a worker has one."""

    def __init__(self, url: str, queue: Queue) -> None:
        self.received: list[tuple[object, float]] = []
        self.interrupted = threading.Event()
        self.arrived = threading.Semaphore(0)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(url, queue), daemon=True)
        self._thread.start()
        assert self._ready.wait(60)

    def _run(self, url: str, queue: Queue) -> None:
        with Connection(url) as connection, connection.channel() as channel:
            with Consumer(channel, [queue], callbacks=[self._note]):
                self._ready.set()
                try:
                    while True:
                        connection.drain_events(timeout=90)
                except TimeoutError:
                    self.interrupted.set()

    def _note(self, body: object, message: object) -> None:
        self.received.append((body, time.monotonic()))
        message.ack()  # type: ignore[attr-defined]
        self.arrived.release()

    def end(self, url: str) -> None:
        broker.interrupt(Connection(url))
        self._thread.join(60)
        assert not self._thread.is_alive()


def test_message_wakes_the_consumer_at_once(url: str) -> None:
    queue = Queue("work", Exchange("work"), routing_key="work")
    listener = Listener(url, queue)
    delays = []
    for number in range(20):
        sent_at = time.monotonic()
        publish(url, queue, number)
        assert listener.arrived.acquire(timeout=60)
        delays.append(listener.received[-1][1] - sent_at)
    listener.end(url)

    assert [body for body, _ in listener.received] == list(range(20))
    assert sorted(delays)[10] < 0.3


def test_message_sent_before_anybody_listens_is_kept(url: str) -> None:
    queue = Queue("work", Exchange("work"), routing_key="work")
    publish(url, queue, "early")

    listener = Listener(url, queue)

    assert listener.arrived.acquire(timeout=60)
    listener.end(url)


def test_broadcast_reaches_every_listener(url: str) -> None:
    exchange = Exchange("all", type="fanout")
    queues = [Queue(f"reader-{number}", exchange, auto_delete=True) for number in range(3)]
    listeners = [Listener(url, queue) for queue in queues]

    publish(url, Queue("sender", exchange), "hello")

    for listener in listeners:
        assert listener.arrived.acquire(timeout=60)
        listener.end(url)
    assert [[body for body, _ in listener.received] for listener in listeners] == [["hello"]] * 3


def test_queue_of_a_gone_reader_goes_with_it(url: str) -> None:
    exchange = Exchange("all", type="fanout")
    listener = Listener(url, Queue("reader", exchange, auto_delete=True))
    listener.end(url)

    for _ in range(3):
        with Connection(url) as connection, connection.channel() as channel:
            Producer(channel).publish("nobody hears", exchange=exchange, declare=[exchange])

    assert broker.broker_named(url.removeprefix("memory://")).queues == {}


def test_brokers_of_different_names_do_not_share(url: str) -> None:
    queue = Queue("work", Exchange("work"), routing_key="work")
    publish(url, queue, "mine")

    with Connection(f"memory://{uuid.uuid4().hex}") as other, other.channel() as channel:
        queue(channel).declare()
        assert queue(channel).get() is None


def test_interruption_ends_the_wait_within_milliseconds(url: str) -> None:
    listener = Listener(url, Queue("work", Exchange("work"), routing_key="work"))
    began = time.monotonic()

    listener.end(url)

    assert listener.interrupted.is_set()
    assert time.monotonic() - began < 5


def test_wait_without_messages_ends_at_its_timeout(url: str) -> None:
    with Connection(url) as connection, connection.channel() as channel:
        with Consumer(channel, [Queue("work", Exchange("work"))], callbacks=[]):
            began = time.monotonic()
            with pytest.raises(TimeoutError):
                connection.drain_events(timeout=0.05)
    assert 0.04 < time.monotonic() - began < 10


def test_acknowledgement_opens_the_window_for_the_next_message(url: str) -> None:
    queue = Queue("work", Exchange("work"), routing_key="work")
    for number in range(2):
        publish(url, queue, number)
    received = []

    with Connection(url) as connection, connection.channel() as channel:
        consumer = Consumer(channel, [queue], on_message=received.append, prefetch_count=1)
        with consumer:
            connection.drain_events(timeout=60)
            acknowledging = threading.Timer(0.05, received[0].ack)
            acknowledging.start()
            began = time.monotonic()
            connection.drain_events(timeout=60)
            waited = time.monotonic() - began
            acknowledging.join()

    assert [message.payload for message in received] == [0, 1]
    assert waited < 30
