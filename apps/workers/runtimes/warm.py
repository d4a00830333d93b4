"""
Warm Python: one template process per interpreter and preload, a fork of it per run (packs.md section 7).

The template only forks and, when asked, reaps: the worker watches the fork through a pidfd like a child of its own.
Should the template die, its forks become children of the worker, which is a child subreaper, and are reaped here.
"""

import contextlib
import json
import logging
import os
import select
import socket
import struct
import subprocess
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apps.workers.orphans import protect, starting, unprotect
from apps.workers.process import UMASK, CannotStart

logger = logging.getLogger(__name__)

SCRIPT = Path(__file__).parent / "interpreter" / "attune_template.py"
RUNS_PER_TEMPLATE = 1000
MAX_TEMPLATES = 8  # each keeps about 8 MB
IDLE_SECONDS = 900
RETRY_SECONDS = 60  # after one that could not be started
START_SECONDS = 10.0  # the imports of a preload included; until then runs start the ordinary way
ANSWER_SECONDS = 10.0
MAX_MESSAGE_BYTES = 64 * 1024  # a longer task travels in a memory file
PADDING_BYTES = 2048  # room in the template's environment block for the marks of a run


class TemplateFailed(Exception):
    """The template cannot serve this run; it is started the ordinary way."""


@dataclass(frozen=True)
class TemplateKey:
    """What a template was started with; a run that needs something else needs another template."""

    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    preload: tuple[str, ...]
    stamp: tuple[int, ...]


class Fork:
    """A run that is a child of a template."""

    def __init__(self, template: "Template", pid: int) -> None:
        self._template = template
        self.pid = pid

    def reap(self) -> tuple[int, float]:
        return self._template.reap(self.pid)


class Template:
    """The worker's side of one template process."""

    def __init__(self, key: TemplateKey) -> None:
        self.used_at = time.monotonic()
        self.starts = 0
        self._running = 0
        self._retired = False
        self._lock = threading.Lock()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket = ours
        with theirs, starting():
            try:
                self._process = subprocess.Popen(
                    (*key.argv, os.fspath(SCRIPT), *key.preload),
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={**dict(key.env), "_": "." * PADDING_BYTES},
                    cwd="/",
                    start_new_session=True,
                    umask=UMASK,
                )
            except OSError as error:
                ours.close()
                raise TemplateFailed(str(error)) from error
            protect(self._process.pid)
        self._await_ready()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _await_ready(self) -> None:
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        ready = poller.poll(START_SECONDS * 1000) and self._socket.recv(MAX_MESSAGE_BYTES)
        if not ready:
            self.close()
            raise TemplateFailed("the template did not start")
        news = json.loads(ready)
        for module, reason in news["failed"].items():
            logger.warning("Preload of %s failed and is left out: %s", module, reason)
        if news["threads"] > 1:
            self.close()
            raise TemplateFailed("a preloaded module has started threads")
        limit = struct.pack("ll", int(ANSWER_SECONDS), 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def start(self, task: dict[str, Any], descriptors: tuple[int, int, int]) -> Fork:
        """Fork a run. Raises TemplateFailed when there is none, CannotStart when the system has no process left."""
        content = json.dumps(task).encode()
        with contextlib.ExitStack() as stack:
            passed = list(descriptors)
            if len(content) > MAX_MESSAGE_BYTES:
                passed.append(stack.enter_context(_memory_file(content)).fileno())
                content = b""
            with self._lock:
                answer = self._ask(b"start " + content, passed)
                self.starts += 1
                self._running += 1
        if answer.startswith(b"-"):
            self._done()
            raise CannotStart(f"Cannot start a process: {os.strerror(-int(answer))}")
        return Fork(self, int(answer))

    def reap(self, pid: int) -> tuple[int, float]:
        """Return exit code and CPU seconds of a fork that has ended."""
        try:
            with self._lock:
                code, cpu_seconds = self._ask(b"reap %d" % pid, []).split()
            return int(code), float(cpu_seconds)
        except TemplateFailed:
            _pid, status, usage = os.wait4(pid, 0)
            return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
        finally:
            self._done()

    def _ask(self, message: bytes, descriptors: list[int]) -> bytes:
        try:
            socket.send_fds(self._socket, [message], descriptors)
            answer = self._socket.recv(256)
        except OSError as error:
            answer = b""
            reason = str(error)
        else:
            reason = "it has ended"
        if not answer:
            self._end()
            raise TemplateFailed(f"the template does not answer: {reason}")
        return answer

    def _done(self) -> None:
        with self._lock:
            self._running -= 1
            if self._retired and not self._running:
                self._end()

    @property
    def spent(self) -> bool:
        """Whether it must be replaced."""
        return self.starts >= RUNS_PER_TEMPLATE or self._socket.fileno() < 0

    def retire(self) -> None:
        """Let the forks that run finish, then end."""
        with self._lock:
            self._retired = True
            if not self._running:
                self._end()

    def close(self) -> None:
        """End the template now."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._socket.fileno() < 0:
            return
        self._socket.close()
        self._process.kill()
        self._process.wait()
        unprotect(self._process.pid)


class TemplatePool:
    """The templates of this worker, by what they were started with; the least used ones make room for new ones."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._templates: OrderedDict[TemplateKey, Template] = OrderedDict()
        self._gates: dict[TemplateKey, threading.Lock] = {}  # of those that are being started
        self._failed_at: dict[TemplateKey, float] = {}

    def get(self, key: TemplateKey) -> Template:
        """Return a template that serves this key, a new one if need be. Raises TemplateFailed."""
        template, gate = self._present(key)
        if template:
            return template
        with gate:  # others who need the same one wait; those who need another do not
            template, _gate = self._present(key)
            return template or self._start(key)

    def _present(self, key: TemplateKey) -> tuple[Template | None, threading.Lock]:
        with self._lock:
            template = self._templates.get(key)
            if template and not template.spent:
                self._templates.move_to_end(key)
                template.used_at = time.monotonic()
                return template, threading.Lock()
            if time.monotonic() < self._failed_at.get(key, -RETRY_SECONDS) + RETRY_SECONDS:
                raise TemplateFailed("it could not be started before")
            return None, self._gates.setdefault(key, threading.Lock())

    def _start(self, key: TemplateKey) -> Template:
        try:
            template = Template(key)
        except TemplateFailed as error:
            logger.warning("No warm Python for %s: %s", key.argv[0], error)
            with self._lock:
                self._failed_at = {key: time.monotonic(), **dict(list(self._failed_at.items())[:100])}
            raise
        with self._lock:
            former = self._templates.pop(key, None)
            self._templates[key] = template
            self._gates.pop(key, None)
            surplus = list(self._templates)[:-MAX_TEMPLATES]
            retired = [former] if former else []
            retired += [self._templates.pop(each) for each in surplus]
        for each in retired:
            each.retire()
        return template

    def close_idle(self) -> None:
        """End the templates that nobody has asked for in a while."""
        long_ago = time.monotonic() - IDLE_SECONDS
        with self._lock:
            idle = [key for key, template in self._templates.items() if template.used_at < long_ago]
            retired = [self._templates.pop(key) for key in idle]
        for each in retired:
            each.retire()

    @property
    def pids(self) -> list[int]:
        """The template processes."""
        with self._lock:
            return [template.pid for template in self._templates.values()]

    def close(self) -> None:
        """End every template."""
        with self._lock:
            for template in self._templates.values():
                template.close()
            self._templates.clear()


@contextlib.contextmanager
def _memory_file(content: bytes) -> Any:
    with open(os.memfd_create("attune-task"), "wb", buffering=0) as file:
        view = memoryview(content)
        while view:
            view = view[file.write(view) :]
        file.seek(0)
        yield file
