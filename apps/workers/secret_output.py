"""
Keep back what may become a secret output until it is known what in it is secret (auth.md section 10).

Which values of a result are secret is known once the program has ended. So stdout is shown as it comes up to the first
line that looks like data; from there on it waits, in a file without a name, and goes to the log without the secrets.
"""

import re
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from apps.core.markers import marked
from apps.core.redaction import Redactor
from apps.core.schemas import secret_paths
from apps.workers.capture import OutputFilter

IN_MEMORY_BYTES = 1024 * 1024

_DATA_AT_START = re.compile(rb"[ \t\r]*[{\[]")
_DATA_LATER = re.compile(rb"\n\s*[{\[]")

# What a whole output means, as JSON; raises nothing. None is the same as no data here.
Parse = Callable[[bytes], Any]


class SecretOutput:
    """
    A filter for the stdout of one run whose results may be secret (``apps.workers.capture.OutputFilter``).

    Once it has ended, ``values`` are the secret outputs as the program wrote them, by their JSON pointers, and ``data`` is
    what the output means with markers in their places; None without any.
    """

    def __init__(self, out_schema: Any, parse: Parse, redactor: Redactor, *, everything: bool) -> None:
        self.values: Mapping[str, Any] = {}
        self.data: Any = None
        self._out_schema = out_schema
        self._parse = parse
        self._redactor = redactor
        self._shown: OutputFilter = redactor.stream()
        self._is_line_start = True
        self._kept = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES) if everything else None  # noqa: SIM115

    @property
    def held(self) -> int:
        """What waits for its end; what waits for the end of the program is no part of it."""
        return self._shown.held

    def feed(self, data: bytes) -> bytes:
        if self._kept is not None:
            self._kept.write(data)
            return b""
        begin = self._begin_of_data(data)
        if begin < 0:
            return self._shown.feed(data)
        self._kept = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115  # until the end
        self._kept.write(data[begin:])
        return self._shown.feed(data[:begin]) + self._shown.flush()

    def release(self) -> bytes:
        return self._shown.release()

    def flush(self) -> bytes:
        if self._kept is None:
            return self._shown.flush()
        with self._kept as kept:
            kept.seek(0)
            data = kept.read()
        self._kept = None
        parsed = self._parse(data)
        data_shown, self.values = marked(parsed, secret_paths(self._out_schema, parsed))
        self.data = data_shown if self.values else None
        return self._redactor.also(self.values.values()).redact_bytes(data)

    def cut(self) -> bytes:
        """Output that was cut is no data, so what in it is secret is never known."""
        if self._kept is None:
            return self._shown.cut()
        with self._kept as kept:
            kept.seek(0)
            data = kept.read()
        self._kept = None
        return self._shown.feed(data) + self._shown.cut()

    def _begin_of_data(self, data: bytes) -> int:
        """Return where a line begins that may be data, -1 when none does."""
        found = _DATA_AT_START.match(data) if self._is_line_start else None
        if found is None and (found := _DATA_LATER.search(data)) is None:
            end = data[data.rfind(b"\n") + 1 :]
            self._is_line_start = not end.strip() and (b"\n" in data or self._is_line_start)
            return -1
        return found.end() - 1
