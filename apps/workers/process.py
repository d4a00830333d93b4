"""Start a program, feed it, keep what it prints, end it: the only place that does (execution.md section 9)."""

import errno
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from apps.workers.capture import Capture, Sink
from apps.workers.commands import CannotStart, Command, Ended, Started, Starter
from apps.workers.control import RunControl
from apps.workers.limits import limited_argv
from apps.workers.orphans import protect, starting
from apps.workers.run_marks import RunMark

if TYPE_CHECKING:
    from apps.workers.runner_services import RunnerServices

__all__ = ["CannotStart", "Command", "Ended", "Started", "Starter", "run", "spawn"]

UMASK = 0o027
READ_BYTES = 64 * 1024
SURE_PIPE_BYTES = 4096  # every new pipe takes so much at once
LINGER_SECONDS = 1.0  # how long output is read after the main process has ended while others keep the pipes
WATCH_SECONDS = 0.1  # how often the number of processes is looked at when it is limited


class _Waker(threading.local):
    """A descriptor by which a thread is woken from its loop; one per thread, for one run after the other."""

    def __init__(self) -> None:
        self.descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        close(self.descriptor)

    def clear(self) -> None:
        """Forget that somebody called."""
        try:
            os.eventfd_read(self.descriptor)
        except BlockingIOError:
            return


_waker = _Waker()


class _Child:
    """A process of ours."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen
        self.pid = popen.pid

    def reap(self) -> tuple[int, float]:
        self._popen.returncode = 0  # Popen must not wait for it as well
        _pid, status, usage = os.wait4(self.pid, 0)
        self._popen.returncode = os.waitstatus_to_exitcode(status)
        return self._popen.returncode, usage.ru_utime + usage.ru_stime


def spawn(command: Command, descriptors: tuple[int, int, int]) -> Started:
    """Start a program the ordinary way. All arguments are ones that leave ``subprocess`` on its vfork path."""
    argv = limited_argv(command.limits, command.argv)
    stdin, stdout, stderr = descriptors
    try:
        with starting():
            popen = subprocess.Popen(
                argv,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=command.env,
                cwd=command.directory,
                start_new_session=True,
                umask=UMASK,
            )
            protect(popen.pid)
        return _Child(popen)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CannotStart(f"Cannot start {command.argv[0]}: {reason}") from error


def run(
    command: Command,
    control: RunControl,
    services: "RunnerServices",
    starter: Starter = spawn,
    *,
    sinks: tuple[Sink, Sink] | None = None,
) -> Ended:
    """
    Run a program to its end and return how it ended; nothing that belongs to it is left then.

    ``sinks`` take its stdout and stderr in place of the logs that the command names; they are closed at the end.
    Raises CannotStart, also when ``control`` was stopped before the start. A program that fails is a result.
    """
    run = _Run(command, control, services, sinks)
    try:
        run.start(starter)
        run.watch()
        return run.finish()
    except BaseException:
        run.abort()
        raise
    finally:
        run.close()


class _Run:
    """One run of one command, driven by the calling thread: a loop over its pipes, its end and its deadlines."""

    def __init__(
        self,
        command: Command,
        control: RunControl,
        services: "RunnerServices",
        sinks: tuple[Sink, Sink] | None,
    ) -> None:
        make_filter = command.output_filter
        self.command = command
        self.control = control
        self.services = services
        of_stdout = command.stdout_filter or (make_filter() if make_filter else None)
        self.stdout = Capture("stdout", command.stdout_path, command.stdout_limit, of_stdout)
        self.stderr = Capture(
            "stderr", command.stderr_path, command.stderr_limit, make_filter() if make_filter else None
        )
        self.sinks: tuple[Sink, Sink] = sinks or (self.stdout, self.stderr)
        self.poller = select.poll()
        self.handlers: dict[int, Callable[[int], None]] = {}
        self.descriptors: set[int] = set()
        self.unwritten = memoryview(command.stdin)
        self.stdin_error = ""
        self.limit_hit = ""
        self.started_at = self.ended_at = 0.0
        self.deadline: float | None = None  # when the next step of the time limit, the kill or the linger is due
        self.streams = 0
        self.ended = False
        self.process: Started | None = None
        self.mark = RunMark.now(command.marks)

    # Starting

    def start(self, starter: Starter) -> None:
        if self.control.reason is not None:
            raise CannotStart("Stopped before it was started")
        inside = (self._input_pipe(), self._output_pipe(self.sinks[0]), self._output_pipe(self.sinks[1]))
        self.mark = RunMark.now(self.command.marks)
        self.started_at = time.monotonic()
        self.process = starter(self.command, inside)
        self.mark = self.mark.of(self.process.pid)
        self.services.orphans.begin(self.mark)
        for descriptor in inside:
            self._close(descriptor)
        self.services.guard_add(self.mark)
        self._follow()

    def _pipe(self) -> tuple[int, int]:
        try:
            pair = os.pipe()
        except OSError as error:
            raise CannotStart(f"Cannot start {self.command.argv[0]}: {error.strerror}") from error
        self.descriptors.update(pair)
        return pair

    def _input_pipe(self) -> int:
        """Return the program's end; what the pipe holds is in it before the program starts."""
        inside, outside = self._pipe()
        if len(self.unwritten) > SURE_PIPE_BYTES:
            os.set_blocking(outside, False)
        self._write_input(outside)
        if self.unwritten:
            self._watch_for(outside, select.POLLOUT, lambda _events: self._input_ready(outside))
        else:
            self._close(outside)
        return inside

    def _output_pipe(self, sink: Sink) -> int:
        outside, inside = self._pipe()
        self.streams += 1
        self._watch_for(outside, select.POLLIN, lambda events: self._output_ready(outside, events, sink))
        return inside

    def _follow(self) -> None:
        assert self.process is not None
        try:
            pidfd = os.pidfd_open(self.process.pid)
        except ProcessLookupError:  # ended and already reaped, though not by us: the output is still to be read
            self._main_ended()
            return
        self.descriptors.add(pidfd)
        self._watch_for(pidfd, select.POLLIN, lambda _events: self._main_ended(pidfd))
        self._watch_for(_waker.descriptor, select.POLLIN, lambda _events: self._woken())
        if self.command.timeout_seconds is not None:
            self.deadline = self.started_at + self.command.timeout_seconds
        self.control.attach(self.process.pid, pidfd, _waker.descriptor)
        if self.control.reason is not None:
            self._await_kill()

    # Watching

    def watch(self) -> None:
        """Turn until the main process has ended and its output is read, or waited for long enough."""
        while not self.ended or self.streams:
            timeout = None
            if self.deadline is not None:
                timeout = self.deadline - time.monotonic()
                if timeout <= 0:
                    if self.ended:
                        return
                    self._deadline_passed()
                    continue
            if self.command.limits.processes and not self.ended:
                timeout = WATCH_SECONDS if timeout is None else min(timeout, WATCH_SECONDS)
                self._count_processes()
            if self.stdout.release_at or self.stderr.release_at:
                timeout = self._release_held(timeout)
            for descriptor, events in self.poller.poll(None if timeout is None else timeout * 1000):
                self.handlers[descriptor](events)

    def _release_held(self, timeout: float | None) -> float | None:
        """Let out what the filters have held back for long enough; return when to look again, at the latest."""
        now = time.monotonic()
        for capture in (self.stdout, self.stderr):
            if capture.release_at is None:
                continue
            if capture.release_at <= now:
                capture.release()
            else:
                left = capture.release_at - now
                timeout = left if timeout is None else min(timeout, left)
        return timeout

    def _watch_for(self, descriptor: int, events: int, handler: Callable[[int], None]) -> None:
        self.poller.register(descriptor, events)
        self.handlers[descriptor] = handler

    def _output_ready(self, descriptor: int, events: int, sink: Sink) -> None:
        data = os.read(descriptor, READ_BYTES)
        if data:
            sink.feed(data)
        # A pipe that nobody can write to any more and that did not fill the buffer is empty.
        if not data or (events & select.POLLHUP and len(data) < READ_BYTES):
            self._close(descriptor)
            self.streams -= 1

    def _input_ready(self, descriptor: int) -> None:
        self._write_input(descriptor)
        if not self.unwritten:
            self._close(descriptor)

    def _write_input(self, descriptor: int) -> None:
        try:
            while self.unwritten:
                self.unwritten = self.unwritten[os.write(descriptor, self.unwritten) :]
        except BlockingIOError:
            return
        except OSError as error:
            self.stdin_error = error.strerror or str(error)
            self.unwritten = memoryview(b"")

    def _main_ended(self, pidfd: int | None = None) -> None:
        self.ended_at = time.monotonic()
        self.ended = True
        self.control.main_has_ended()
        if pidfd is not None:
            self.poller.unregister(pidfd)
            del self.handlers[pidfd]
        if self.unwritten:
            self.stdin_error = os.strerror(errno.EPIPE)
        self.deadline = self.ended_at + LINGER_SECONDS

    def _woken(self) -> None:
        _waker.clear()
        if not self.ended:
            self._await_kill()

    def _await_kill(self) -> None:
        if not self.control.kill_wanted:
            self.deadline = time.monotonic() + self.command.kill_grace_seconds
        else:
            self.deadline = None

    def _deadline_passed(self) -> None:
        if self.control.reason is None:
            self.control.give_up("timeout")
            self._await_kill()
        else:
            self.control.signal_group(signal.SIGKILL)
            self.deadline = None

    def _count_processes(self) -> None:
        limit = self.command.limits.processes
        if limit and not self.limit_hit and self.services.orphans.size(self.mark, limit) > limit:
            self.limit_hit = "processes"
            self.control.give_up("limit")

    # Ending

    def finish(self) -> Ended:
        """Leave nothing behind: the group first, while its number is still ours, then what has left it."""
        assert self.process is not None
        self.control.detach()
        if self.control.called:
            _waker.clear()
        self.services.orphans.end(self.mark)
        returncode, cpu_seconds, wait_error = -1, 0.0, ""
        try:
            returncode, cpu_seconds = self.process.reap()
        except OSError as error:
            wait_error = error.strerror or str(error)
        self.process = None
        self.services.orphans.forget(self.mark)
        self.services.guard_remove(self.mark)
        for sink in self.sinks:
            sink.close()
        return Ended(
            returncode=returncode,
            seconds=self.ended_at - self.started_at,
            reason=self.control.reason,
            cpu_seconds=cpu_seconds,
            stdout=self.stdout,
            stderr=self.stderr,
            wait_error=wait_error,
            stdin_error=self.stdin_error,
            limit_hit=self.limit_hit,
        )

    def abort(self) -> None:
        """End a run that cannot be followed to its end, because of a fault of ours."""
        if self.process is None:
            return
        with suppress(ProcessLookupError):  # gone already; the books are closed all the same
            os.killpg(self.process.pid, signal.SIGKILL)
            if not self.ended:
                pidfd = os.pidfd_open(self.process.pid)
                self.descriptors.add(pidfd)
                select.select([pidfd], [], [], LINGER_SECONDS)
        self.finish()

    def close(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors.clear()

    def _close(self, descriptor: int) -> None:
        if self.handlers.pop(descriptor, None):
            self.poller.unregister(descriptor)
        self.descriptors.discard(descriptor)
        os.close(descriptor)
