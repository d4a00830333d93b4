"""One product per state directory: a lock that the kernel gives up with the process, however it ends."""

import errno
import fcntl
import os
from pathlib import Path

from settings.env import CannotStart


class StateDirectoryLock:
    """Hold a state directory for this process until ``release`` or the process's end."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "attune.lock"
        self._descriptor: int | None = None

    def take(self) -> None:
        """Raises CannotStart, naming the process that holds it."""
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
            os.close(descriptor)
            if error.errno != errno.EWOULDBLOCK:
                raise CannotStart(f"Cannot lock {self._file} ({error.strerror}).") from None
            raise CannotStart(
                f"Attune already runs on the state directory {self._file.parent}"
                f"{f' (process {holder})' if holder else ''}. Stop that one, or name another directory in "
                "ATTUNE_STATE_DIR."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None
