"""Stay with an execution until it has ended: its output as it is written, and why it waits."""

import codecs
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Self

from django.db import OperationalError, close_old_connections

from apps.executions import storage
from apps.executions.errors import ExecutionNotFound
from apps.executions.logs import STREAMS, Stream, log_name
from apps.executions.models import Execution
from apps.executions.services import explain
from apps.executions.states import PENDING

LOOK_SECONDS = 0.1  # a line is seen within a quarter of a second of being written
PATIENCE_SECONDS = 1.0  # how long it may wait before its waiting is worth a word
EXIT_CODES = {"completed": 0, "failed": 1, "timeout": 124, "cancelled": 130, "abandoned": 1}


def exit_code_of(execution: Execution) -> int:
    """Return the exit status by which a command mirrors how an execution ended."""
    code = execution.exit_code
    if execution.status in ("completed", "failed") and code is not None and 0 <= code <= 255:
        return code or EXIT_CODES[execution.status]
    return EXIT_CODES[execution.status]


class _Log:
    """One stream's file, read on from where it was left; characters are never cut in two."""

    def __init__(self, execution_id: int, stream: Stream) -> None:
        self._name = log_name(execution_id, stream)
        self._file: BinaryIO | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def new_text(self) -> Iterator[str]:
        if self._file is None:
            self._file = storage.open_file(self._name)
        while self._file is not None and (block := self._file.read(storage.BLOCK_BYTES)):
            yield self._decoder.decode(block)

    def rest(self) -> str:
        """Return what the beginning of a character that never came stands for; after the end only."""
        return self._decoder.decode(b"", final=True)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


@dataclass(frozen=True, kw_only=True)
class Readers:
    """Who is told what: output by stream, and remarks about the waiting. None: nobody."""

    output: Callable[[Stream, str], None] | None = None
    remark: Callable[[str], None] | None = None


class Following:
    """One execution that somebody stays with; ``with`` closes its files."""

    def __init__(self, execution_id: int, readers: Readers) -> None:
        self._id = execution_id
        self._readers = readers
        self._logs = {stream: _Log(execution_id, stream) for stream in STREAMS}
        self._said: str | None = None
        self._quiet_until = time.monotonic() + PATIENCE_SECONDS

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for log in self._logs.values():
            log.close()

    def until_end(self) -> Execution:
        """Return the execution once it has ended and all its output was passed on; may be called again."""
        while True:
            execution = self._look()
            self._pass_output_on()
            if execution is not None:
                if execution.is_finished:
                    self._pass_rests_on()
                    return execution
                self._remark(execution)
            time.sleep(LOOK_SECONDS)

    def _look(self) -> Execution | None:
        """Read the row; None while the database does not answer."""
        try:
            execution = Execution.objects.select_related("worker", "action", "demand").filter(pk=self._id).first()
        except OperationalError as error:
            self._say(f"The database does not answer ({str(error).strip().splitlines()[0]}); trying again")
            close_old_connections()
            return None
        if execution is None:
            raise ExecutionNotFound(self._id)
        return execution

    def _pass_output_on(self) -> None:
        if self._readers.output is None:
            return
        for stream, log in self._logs.items():
            for text in log.new_text():
                self._readers.output(stream, text)

    def _pass_rests_on(self) -> None:
        for stream, log in self._logs.items():
            if self._readers.output is not None and (text := log.rest()):
                self._readers.output(stream, text)

    def _remark(self, execution: Execution) -> None:
        """Say what it waits for, when that takes a while, and again when it becomes something else."""
        if self._readers.remark is None or execution.status not in PENDING or time.monotonic() < self._quiet_until:
            return
        self._quiet_until = time.monotonic() + PATIENCE_SECONDS
        self._say(f"Execution {execution.pk} waits: {explain(execution)['summary']}")

    def _say(self, sentence: str) -> None:
        if sentence != self._said and self._readers.remark is not None:
            self._readers.remark(sentence)
        self._said = sentence
