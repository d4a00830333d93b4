"""A request to stop that comes by signal, and the wait for it that no signal can slip past."""

import contextlib
import os
import select
import signal
from collections.abc import Callable, Iterator
from types import FrameType

Handler = Callable[[int, FrameType | None], None]


class StopRequest:
    """
    Somebody asked to stop. ``set`` may be called by a signal handler and by any thread; ``wait`` by the main thread.

    threading.Event is not made for this: a handler that runs while the main thread holds the event's lock stops the
    process for good, and a signal that comes just before the wait is noticed when the wait is over only.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._asked = False

    def set(self) -> None:
        self._asked = True
        with contextlib.suppress(BlockingIOError):  # full: whoever waits is awake
            os.write(self._writer, b"\0")

    def is_set(self) -> bool:
        return self._asked

    def wait(self, timeout_seconds: float) -> bool:
        """Return whether somebody asked; at the latest after ``timeout_seconds``, at once after any signal."""
        if not self._asked and select.select([self._reader], [], [], timeout_seconds)[0]:
            with contextlib.suppress(BlockingIOError):
                os.read(self._reader, 4096)
        return self._asked

    @contextlib.contextmanager
    def by_signals(self, handler: Handler | None = None) -> Iterator[None]:
        """
        Let SIGINT and SIGTERM ask, or call ``handler``; in the main thread only. The handlers before come back.

        Raises KeyboardInterrupt when Ctrl-C came earlier and got lost (see ``Interrupt`` in manage.py).
        """

        def ask(_number: int, _frame: FrameType | None) -> None:
            self.set()

        wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        before = {number: signal.signal(number, handler or ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            if getattr(before[signal.SIGINT], "came", False):
                raise KeyboardInterrupt
            yield
        finally:
            for number, old in before.items():
                signal.signal(number, old)
            signal.set_wakeup_fd(wakeup)
