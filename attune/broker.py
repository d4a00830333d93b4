"""
The broker inside one process: kombu's virtual transport, woken instead of polling.

``memory://`` is one broker for everybody in this process, ``memory://name`` another one. Tasks, and the broadcasts of
remote control, reach a waiting consumer at once; an idle one sleeps. Nothing is kept when the process ends: the
database row is the queue, the broker only the doorbell.
"""

import threading
import time
from collections import deque
from queue import Empty
from typing import Any

from kombu import Connection
from kombu.transport import TRANSPORT_ALIASES, base, virtual


class Broker:
    """What the connections of one broker share, and the bell that wakes those who wait for it."""

    def __init__(self) -> None:
        self.state = virtual.BrokerState()
        self.queues: dict[str, deque[Any]] = {}
        self.deleted_with_consumer: set[str] = set()
        self.interruptions = 0
        self._changes = 0
        self._bell = threading.Condition()

    def ring(self) -> None:
        with self._bell:
            self._changes += 1
            self._bell.notify_all()

    def interrupt(self) -> None:
        """Let everybody who waits look around, as if their time were up."""
        with self._bell:
            self.interruptions += 1
            self._bell.notify_all()

    @property
    def changes(self) -> int:
        return self._changes

    def wait_for_change(self, since: int, interruptions: int, timeout_seconds: float | None) -> None:
        with self._bell:
            self._bell.wait_for(lambda: self._changes != since or self.interruptions != interruptions, timeout_seconds)


_brokers: dict[str, Broker] = {}
_brokers_lock = threading.Lock()


def broker_named(name: str) -> Broker:
    with _brokers_lock:
        return _brokers.setdefault(name, Broker())


def _name_of(connection: Connection) -> str:
    host = connection.hostname or ""
    return "" if host == "localhost" else host


def interrupt(connection: Connection) -> None:
    """Make the consumers of an in-memory broker return from waiting now; other transports wake by themselves."""
    if connection.transport_cls == "memory":
        broker_named(_name_of(connection)).interrupt()


class QoS(virtual.QoS):
    """An acknowledgement comes from a pool thread and may let the next message through, where that is limited."""

    channel: "Channel"

    def ack(self, delivery_tag: str) -> None:
        super().ack(delivery_tag)
        if self.prefetch_count:
            self.channel.broker.ring()

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        super().reject(delivery_tag, requeue=requeue)
        self.channel.broker.ring()


class Channel(virtual.Channel):
    """Queues are deques of the broker; whoever adds to one rings its bell."""

    QoS = QoS
    supports_fanout = True
    do_restore = False  # what was not acknowledged at the end of the process, the sweep finds

    @property
    def broker(self) -> Broker:
        return self._broker

    def __init__(self, connection: Any, **kwargs: Any) -> None:
        self._broker: Broker = connection.broker
        super().__init__(connection, **kwargs)

    def _has_queue(self, queue: str, **kwargs: Any) -> bool:
        return queue in self.broker.queues

    def _new_queue(self, queue: str, auto_delete: bool = False, **kwargs: Any) -> None:
        self.broker.queues.setdefault(queue, deque())
        if auto_delete:
            self.broker.deleted_with_consumer.add(queue)

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        try:
            return self.broker.queues[queue].popleft()
        except (KeyError, IndexError):
            raise Empty from None

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:
        self.broker.queues.setdefault(queue, deque()).append(message)
        self.broker.ring()

    def _put_fanout(self, exchange: str, message: Any, routing_key: str | None = None, **kwargs: Any) -> None:
        for _key, _pattern, queue in list(self.get_table(exchange)):
            waiting = self.broker.queues.get(queue)
            if waiting is not None:
                waiting.append(message)
        self.broker.ring()

    def _queue_bind(self, *args: Any) -> None:
        """Nothing to do: the binding is in the broker's table, which every connection reads."""

    def _size(self, queue: str) -> int:
        return len(self.broker.queues.get(queue, ()))

    def _purge(self, queue: str) -> int:
        waiting = self.broker.queues.get(queue, deque())
        size = len(waiting)
        waiting.clear()
        return size

    def _delete(self, queue: str, exchange: str, *meta: Any, **kwargs: Any) -> None:
        table = self.get_table(exchange)
        table[:] = [entry for entry in table if entry[2] != queue]
        self.broker.queues.pop(queue, None)

    def queue_delete(self, queue: str, if_unused: bool = False, if_empty: bool = False, **kwargs: Any) -> None:
        super().queue_delete(queue, if_unused=if_unused, if_empty=if_empty, **kwargs)
        if not (if_empty and self._size(queue)):
            self.broker.queues.pop(queue, None)  # the one that was bound to no exchange
            self.broker.deleted_with_consumer.discard(queue)

    def basic_cancel(self, consumer_tag: str) -> None:
        queue = self._tag_to_queue.get(consumer_tag)
        super().basic_cancel(consumer_tag)
        if queue in self.broker.deleted_with_consumer:
            self.queue_delete(queue)

    def after_reply_message_received(self, queue: str) -> None:
        """Nothing to do: a reply queue goes with its consumer."""


class Transport(virtual.Transport):
    """One connection to a broker in this process."""

    Channel = Channel
    implements = base.Transport.implements.extend(
        asynchronous=False, exchange_type=frozenset({"direct", "topic", "fanout"}), heartbeats=False
    )
    driver_type = "memory"
    driver_name = "memory"

    def __init__(self, client: Connection, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        self.broker = broker_named(_name_of(client))
        self.state = self.broker.state
        self._interruptions = self.broker.interruptions

    def driver_version(self) -> str:
        return "N/A"

    def drain_events(self, connection: Any, timeout: float | None = None, **options: Any) -> None:
        """
        Deliver one message, waiting for it if need be.

        Raises TimeoutError when none came in time, or on an interruption since the last one.
        """
        broker = self.broker
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            seen = broker.changes
            try:
                assert self.cycle is not None  # set by the constructor
                self.cycle.get(self._deliver, timeout=timeout)
                return
            except Empty:
                left = None if deadline is None else deadline - time.monotonic()
            if broker.interruptions != self._interruptions or (left is not None and left <= 0):
                self._interruptions = broker.interruptions
                raise TimeoutError
            broker.wait_for_change(seen, self._interruptions, left)


def install() -> None:
    """Make ``memory://`` mean this transport for every Celery app of this process."""
    TRANSPORT_ALIASES["memory"] = f"{__name__}:Transport"
