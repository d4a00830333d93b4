"""The handle by which a run is stopped from outside; it exists before the process does."""

import os
import signal
import threading
from typing import Literal

StopReason = Literal["cancel", "lost", "superseded"]


class RunControl:
    """
    Stop one run from any thread, at any time, any number of times; the first reason counts.

    Signals go to the process group only while its leader has not been reaped, so its number can belong to nobody
    else. What is asked for before the process exists takes effect the moment it does.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reason: str | None = None
        self._kill_wanted = False
        self._pgid: int | None = None
        self._pidfd = -1
        self._wake_fd = -1
        self._main_has_ended = False
        self._called = False

    @property
    def pgid(self) -> int | None:
        """The process group while the run has one."""
        return self._pgid

    @property
    def reason(self) -> str | None:
        """Why the run is being stopped: a StopReason, ``timeout``, ``limit``, or None."""
        return self._reason

    @property
    def called(self) -> bool:
        """Whether the run's thread has been woken."""
        return self._called

    @property
    def kill_wanted(self) -> bool:
        return self._kill_wanted

    def stop(self, reason: StopReason) -> None:
        """Send SIGTERM to the process group; the run's own thread sends SIGKILL when the grace is over."""
        self._stop(reason, signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the process group now."""
        self._stop("lost", signal.SIGKILL)

    def give_up(self, reason: Literal["timeout", "limit"]) -> None:
        """Stop the run for a reason of its own; a stop from outside that came first remains the reason."""
        self._stop(reason, signal.SIGTERM if reason == "timeout" else signal.SIGKILL)

    def _stop(self, reason: str, number: signal.Signals) -> None:
        with self._lock:
            if self._main_has_ended:
                number = signal.SIGKILL  # the run is over; only what it left behind is still there
            elif self._reason is None:
                self._reason = reason
            elif number is not signal.SIGKILL:
                return
            self._kill_wanted |= number is signal.SIGKILL
            self._send(number)
            if self._wake_fd >= 0:
                self._called = True
                os.eventfd_write(self._wake_fd, 1)

    def attach(self, pid: int, pidfd: int, wake_fd: int) -> None:
        """Take charge of a process group that has just been started."""
        with self._lock:
            self._pgid, self._pidfd, self._wake_fd = pid, pidfd, wake_fd
            if self._reason is not None:
                self._send(signal.SIGKILL if self._kill_wanted else signal.SIGTERM)

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to the process group, if it is there."""
        with self._lock:
            self._send(number)

    def main_has_ended(self) -> None:
        """From here on a stop is no longer the reason of the run's end."""
        with self._lock:
            self._main_has_ended = True

    def detach(self) -> None:
        """Kill what is left of the group and let go of it; only after this may its leader be reaped."""
        with self._lock:
            self._send(signal.SIGKILL)
            self._pgid, self._pidfd, self._wake_fd = None, -1, -1

    def _send(self, number: signal.Signals) -> None:
        if self._pgid is None:
            return
        try:
            os.killpg(self._pgid, number)
        except (ProcessLookupError, PermissionError):
            # A fork of a template has no group of its own for its first moments.
            self._send_to_leader(number)

    def _send_to_leader(self, number: signal.Signals) -> None:
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except OSError:
            return  # it has ended
