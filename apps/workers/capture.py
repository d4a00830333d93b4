"""One output stream of a run: into its log file as it arrives, up to the limit; memory does not grow with it."""

import logging
import os
import time
from typing import Protocol

logger = logging.getLogger(__name__)

KEPT_BYTES = 64 * 1024  # of the beginning, in memory: enough for previews and for parsing what is small
RESERVED_BYTES = 128  # below the limit, for the notice
HELD_SECONDS = 0.2  # by a filter, at most: who follows the log sees a line within 0.25 s


class OutputFilter(Protocol):
    """Changes a stream on its way to the log, for example to remove secrets; may hold bytes back for a while."""

    @property
    def held(self) -> int:
        """How many bytes are held back."""
        ...

    def feed(self, data: bytes) -> bytes: ...

    def release(self) -> bytes:
        """Return what was held back for long enough; the stream may go on."""
        ...

    def flush(self) -> bytes:
        """Return what is held back at the end of the stream."""
        ...

    def cut(self) -> bytes:
        """The same, where the stream goes on but is not read any further."""
        ...


class Sink(Protocol):
    """Takes what a program prints on one stream, as it comes. It may take its time: the program waits then."""

    def feed(self, data: bytes) -> None: ...

    def close(self) -> None: ...


class Capture:
    """Keep what a program prints, in the log at ``path``; the file appears with the first byte."""

    def __init__(
        self,
        name: str,
        path: str | os.PathLike[str] | None,
        limit: int,
        output_filter: OutputFilter | None = None,
    ) -> None:
        self.name = name
        self.path = os.fspath(path) if path else ""  # empty: there is no log, only what is kept in memory
        self.head = bytearray()
        self.size = 0  # of the log file
        self.dropped = 0  # bytes of the program that did not get into it
        self.lines = 0  # line breaks in the log file
        self.truncated = False
        self.release_at: float | None = (
            None  # when what the filter holds back is to be released, by the monotonic clock
        )
        self._room = max(0, limit - RESERVED_BYTES)
        self._filter = output_filter
        self._fd = -1
        self._broken = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        if len(data) <= self._room and not self.truncated:
            self._room -= len(data)
            self._keep(self._filtered(self._filter, data) if self._filter else data)
            return
        self._overflow(data)

    def _filtered(self, output_filter: OutputFilter, data: bytes) -> bytes:
        kept = output_filter.feed(data)
        if not output_filter.held:
            self.release_at = None
        elif self.release_at is None or output_filter.held <= len(data):  # nothing of it is older than these bytes
            self.release_at = time.monotonic() + HELD_SECONDS
        return kept

    def release(self) -> None:
        """Write what the filter holds back; it has waited for what comes next for long enough."""
        self.release_at = None
        if self._filter and not self.truncated:
            self._keep(self._filter.release())

    def _overflow(self, data: bytes) -> None:
        if self.truncated:
            self.dropped += len(data)
            return
        kept = _without_cut_character(data[: self._room])
        self.dropped += len(data) - len(kept)
        self.truncated = True
        if self._filter:
            kept = self._filter.feed(kept) + self._filter.cut()
            self.release_at = None
        self._keep(kept + f"\n\n[OUTPUT TRUNCATED: {self.name} exceeded size limit]\n".encode())

    def close(self) -> None:
        """Write what the filter still holds and close the file."""
        if self._filter and not self.truncated:
            self._keep(self._filter.flush())
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _keep(self, data: bytes) -> None:
        if not data:
            return
        if len(self.head) < KEPT_BYTES:
            self.head += data[: KEPT_BYTES - len(self.head)]
        self.lines += data.count(b"\n")
        if not self.path:
            self.size += len(data)
        elif not self._broken:
            self._write(data)

    def _write(self, data: bytes) -> None:
        """Append to the log. A disk that takes no more must not stop the program, nor its other stream."""
        view = memoryview(data)
        try:
            if self._fd < 0:
                self._fd = self._open()
            while view:
                written = os.write(self._fd, view)
                self.size += written
                view = view[written:]
        except OSError:
            logger.exception("Cannot write the log %s; the rest of it is dropped", self.path)
            self._broken = self.truncated = True
            self.dropped += len(view)

    def _open(self) -> int:
        """Open the log; its directory is usually not there yet."""
        directory = os.path.dirname(self.path)
        try:
            os.mkdir(directory)
        except FileExistsError:
            pass  # the other stream made it
        except FileNotFoundError:
            os.makedirs(directory, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self.path, flags, 0o640)

    @property
    def in_memory(self) -> bool:
        """Whether ``head`` is all there is."""
        return self.size <= len(self.head)

    def content(self) -> bytes:
        """Return everything that was captured, from the log when it is more than what is kept in memory."""
        if self.in_memory or not self.path:
            return bytes(self.head)
        with open(self.path, "rb") as log:
            return log.read()

    def tail(self, length: int = KEPT_BYTES) -> bytes:
        """Return the last ``length`` bytes that were captured."""
        if self.in_memory or not self.path:
            return bytes(self.head[-length:])
        with open(self.path, "rb") as log:
            log.seek(max(0, self.size - length))
            return log.read()


def _without_cut_character(data: bytes) -> bytes:
    """Drop an incomplete UTF-8 sequence at the end."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        needed = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return data[:-back] if needed > back else data
    return data
