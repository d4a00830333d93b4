"""
Reading the logs of an execution, whatever their size: nothing here holds more than one block in memory.

A log is ``execution_<id>/<stream>.log`` beneath the artifacts directory; it exists once the stream has output. Older
ones may be compressed to ``.log.gz``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Literal, Self

from django.conf import settings

from apps.executions import storage
from apps.executions.errors import LogGone
from apps.executions.models import Execution

Stream = Literal["stdout", "stderr"]
STREAMS: Final[tuple[Stream, Stream]] = ("stdout", "stderr")

_COUNT_BLOCK_BYTES = 1024 * 1024
# Lines are counted for the overview only where that takes a few milliseconds.
_LARGEST_COUNTED_BYTES = 32 * 1024 * 1024


def log_name(execution_id: int, stream: Stream) -> str:
    """Return the name of a log beneath the artifacts directory."""
    return f"execution_{execution_id}/{stream}.log"


def log_path(execution_id: int, stream: Stream) -> Path:
    """Return where a log lies on this host, whether it exists or not."""
    return Path(settings.ARTIFACTS_DIR) / log_name(execution_id, stream)


@dataclass(frozen=True, kw_only=True)
class Log:
    """
    One stream of an execution, opened at the size it had then; close it, or use it with ``with``.

    ``file`` is None when there is no output. ``complete``: nothing will follow.
    """

    execution_id: int
    stream: Stream
    file: BinaryIO | None
    size_bytes: int
    complete: bool
    truncated: bool
    dropped_bytes: int
    epoch: int

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self.file is not None:
            self.file.close()

    @property
    def etag(self) -> str | None:
        """The tag of these bytes; None while more may follow. The same before and after compression."""
        if not self.complete:
            return None
        return f'"{self.execution_id}-{self.stream}-{self.epoch}-{self.size_bytes}"'

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes from ``start`` up to ``end`` in blocks. Raises FileShrank."""
        return storage.read_range(self.file, start, end) if self.file is not None else iter(())

    def tail_start(self, lines: int) -> int:
        """Return the offset at which the last ``lines`` lines begin; reads from the end only."""
        return tail_offset(self.file, self.size_bytes, lines) if self.file is not None else 0

    def boundary_before(self, offset: int) -> int:
        """Return ``offset``, or the start of the UTF-8 character that it would cut."""
        if self.file is None or not 0 < offset < self.size_bytes:
            return offset
        return _character_start(self.file, offset)

    def boundary_after(self, offset: int) -> int:
        """Return ``offset``, or the end of the UTF-8 character that it would cut."""
        if self.file is None or not 0 < offset < self.size_bytes:
            return offset
        start = _character_start(self.file, offset)
        if start == offset:
            return offset
        self.file.seek(start)
        return start + _announced_length(self.file.read(1)[0])

    def count_lines(self) -> int | None:
        """Return the number of lines, None when counting them would take long."""
        if self.size_bytes > _LARGEST_COUNTED_BYTES:
            return None
        lines, last = 0, b"\n"
        for block in self.read(0, self.size_bytes):
            lines += block.count(b"\n")
            last = block[-1:]
        return lines if last == b"\n" else lines + 1


def open_log(execution: Execution, stream: Stream) -> Log:
    """
    Open one stream of an execution; without output the log is empty.

    Raises LogGone when there was output and retention has removed it.
    """
    result = execution.result if isinstance(execution.result, dict) else {}
    file = storage.open_file_or_packed(log_name(execution.pk, stream))
    if file is None and execution.is_finished and f"{stream}_log" in result:
        raise LogGone(f"The {stream} log of execution {execution.pk} was removed by retention")
    dropped = result.get(f"{stream}_bytes_truncated")
    return Log(
        execution_id=execution.pk,
        stream=stream,
        file=file,
        size_bytes=storage.size_of(file) if file is not None else 0,
        complete=execution.is_finished,
        truncated=result.get(f"{stream}_truncated") is True,
        dropped_bytes=dropped if isinstance(dropped, int) else 0,
        epoch=execution.epoch,
    )


def tail_offset(file: BinaryIO, size: int, lines: int) -> int:
    """Return the offset at which the last ``lines`` lines of a file begin; reads from the end only."""
    if lines <= 0:
        return size
    missing = lines
    end = size
    while end > 0:
        start = max(0, end - _COUNT_BLOCK_BYTES)
        file.seek(start)
        block = file.read(end - start)
        # The newline at the very end closes the last line, it does not begin another one.
        stop = len(block) - 1 if end == size and block.endswith(b"\n") else len(block)
        found = block.count(b"\n", 0, stop)
        if found >= missing:
            for _line in range(missing):
                stop = block.rindex(b"\n", 0, stop)
            return start + stop + 1
        missing -= found
        end = start
    return 0


def _announced_length(first: int) -> int:
    """How many bytes a UTF-8 character with this first byte has; 1 for whatever begins none."""
    if first >= 0xF0:
        return 4
    if first >= 0xE0:
        return 3
    return 2 if first >= 0xC0 else 1


def _character_start(file: BinaryIO, offset: int) -> int:
    """Return where the character begins that has a byte on either side of ``offset``, else ``offset``."""
    back = min(3, offset)
    file.seek(offset - back)
    around = file.read(back + 1)
    if len(around) <= back or around[back] & 0xC0 != 0x80:
        return offset  # what follows is no continuation, so nothing is cut
    for distance in range(1, back + 1):
        byte = around[back - distance]
        if byte & 0xC0 == 0x80:
            continue
        return offset - distance if _announced_length(byte) > distance else offset
    return offset
