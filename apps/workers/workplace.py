"""Private files and directories of one run; nothing of them is left after it."""

import os
import shutil
from pathlib import Path


class Workplace:
    """Makes files below a directory that only the worker's user may enter, and removes them at the end."""

    def __init__(self, base: Path, name: str) -> None:
        self._prefix = f"{base}/{name}"
        self._paths: list[str] = []
        self._directories: list[str] = []

    def file(self, content: bytes, suffix: str = "", mode: int = 0o600) -> str:
        """Write a new file and return its path."""
        path = f"{self._prefix}-{len(self._paths)}{suffix}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        self._paths.append(path)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
        finally:
            os.close(descriptor)
        return path

    def directory(self) -> str:
        """Make an empty directory and return its path."""
        path = f"{self._prefix}-{len(self._directories)}.d"
        os.mkdir(path, 0o750)
        self._directories.append(path)
        return path

    def close(self) -> None:
        """Remove everything that was made here, whatever programs have put into it."""
        for path in self._paths:
            try:
                os.unlink(path)
            except FileNotFoundError:
                continue
        for path in self._directories:
            shutil.rmtree(path, ignore_errors=True)
