"""
What a sensor prints: into files that are changed now and then, so that months of it never fill the disk.

Knows neither database nor Django's settings; the names of the files are all there is to find them again.
"""

import logging
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from apps.core.redaction import Redactor
from apps.executions import storage

logger = logging.getLogger(__name__)

BYTES_PER_SECOND: Final = 1024 * 1024  # sustained; what prints more waits for its reader
BURST_BYTES: Final = 8 * 1024 * 1024
LEAST_CHARGE_BYTES: Final = 2048  # a read costs something however little it brings
LONGEST_PAUSE_SECONDS: Final = 0.25
EXCERPT_BYTES: Final = 16 * 1024
EXCERPT_LINES: Final = 80
_RETRY_SECONDS: Final = 60.0  # after the disk took no more


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """How much is kept of one stream."""

    file_bytes: int
    files: int
    new_file_seconds: float | None = None  # a file is not written on for longer; None: as long as it has room


@dataclass(frozen=True, kw_only=True)
class LogFiles:
    """The files of one stream of a sensor as one worker writes them, by number."""

    folder: str
    stream: str
    worker_id: int

    def name(self, number: int) -> str:
        return f"{self.folder}/{self.stream}-{self.worker_id}-{number:06d}.log"

    def numbers(self) -> list[int]:
        """Return the numbers of the files that are there, oldest first."""
        pattern = re.compile(rf"{self.stream}-{self.worker_id}-(\d{{6,9}})\.log")
        return sorted(int(match[1]) for name in storage.names_in(self.folder) if (match := pattern.fullmatch(name)))


class Throttle:
    """Makes whoever passes wait, so that no more than so many bytes pass in a second, bursts aside."""

    def __init__(
        self, sleep: Callable[[float], None] = time.sleep, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._sleep, self._clock = sleep, clock
        self._free = float(BURST_BYTES)
        self._at = clock()

    def take(self, size: int) -> None:
        now = self._clock()
        self._free = min(BURST_BYTES, self._free + (now - self._at) * BYTES_PER_SECOND)
        self._at = now
        self._free -= max(size, LEAST_CHARGE_BYTES)
        if self._free < 0:
            self._sleep(min(-self._free / BYTES_PER_SECOND, LONGEST_PAUSE_SECONDS))


class RotatingLog:
    """A sink that appends to the newest file, begins another when that is full, and removes the oldest."""

    def __init__(self, files: LogFiles, keeping: Keeping, on_new_file: Callable[[], object]) -> None:
        self._files = files
        self._keeping = keeping
        self._on_new_file = on_new_file
        self._throttle = Throttle()
        self._descriptor = -1
        self._size = 0
        self._began_at = 0.0
        self._broken_until = 0.0

    def feed(self, data: bytes) -> None:
        self._throttle.take(len(data))
        if time.monotonic() < self._broken_until:
            return
        try:
            self._write(data)
        except OSError:
            logger.exception("Cannot write the log %s; it is left out for a while", self._files)
            self._broken_until = time.monotonic() + _RETRY_SECONDS
            self.close()

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            if self._descriptor < 0 or self._is_done():
                self._next_file()
            written = os.write(self._descriptor, view[: max(1, self._keeping.file_bytes - self._size)])
            self._size += written
            view = view[written:]

    def _is_done(self) -> bool:
        limit = self._keeping.new_file_seconds
        too_old = limit is not None and time.time() - self._began_at >= limit
        return self._size >= self._keeping.file_bytes or too_old

    def _next_file(self) -> None:
        """Go on in the newest file if it has room, else begin one."""
        first = self._descriptor < 0
        self.close()
        numbers = self._files.numbers()
        if first and numbers and self._open(numbers[-1]) and not self._is_done():
            return
        self.close()
        number = numbers[-1] + 1 if numbers else 1
        while not self._open(number):
            number += 1  # something that is no file of ours has that name
        for old in [*numbers, number][: -self._keeping.files]:
            storage.remove_file(self._files.name(old))
        self._on_new_file()

    def _open(self, number: int) -> bool:
        descriptor = storage.append_to(self._files.name(number))
        if descriptor is None:
            return False
        status = os.fstat(descriptor)
        self._descriptor, self._size = descriptor, status.st_size
        # Of a file that goes on: there is no date of birth; the day its first change could have been is near enough.
        self._began_at = status.st_mtime if status.st_size else time.time()
        return True


class Excerpt:
    """A sink that remembers the end of what came."""

    def __init__(self) -> None:
        self._end = bytearray()

    def feed(self, data: bytes) -> None:
        self._end += data[-EXCERPT_BYTES:]
        if len(self._end) > 4 * EXCERPT_BYTES:
            del self._end[:-EXCERPT_BYTES]

    def close(self) -> None:
        """Nothing to close."""

    def text(self) -> str:
        """Return the last lines as text that a database takes."""
        return excerpt_of(bytes(self._end))


class Both:
    """A sink that passes everything on to two others."""

    def __init__(self, first: RotatingLog, second: Excerpt) -> None:
        self._first, self._second = first, second

    def feed(self, data: bytes) -> None:
        self._second.feed(data)
        self._first.feed(data)

    def close(self) -> None:
        self._first.close()


class Redacted:
    """A sink that passes on what comes without secrets; the beginning of one waits for what follows it."""

    def __init__(self, sink: "RotatingLog | Both", redactor: Redactor) -> None:
        self._sink, self._stream = sink, redactor.stream()

    def feed(self, data: bytes) -> None:
        self._sink.feed(self._stream.feed(data))

    def close(self) -> None:
        self._sink.feed(self._stream.flush())
        self._sink.close()


def excerpt_of(output: bytes) -> str:
    """Return the last 80 lines, or 16 KiB, of what was printed, without what no database text can hold."""
    text = output[-EXCERPT_BYTES:].decode(errors="replace").replace("\0", "�")
    return "\n".join(text.rstrip("\n").split("\n")[-EXCERPT_LINES:])
