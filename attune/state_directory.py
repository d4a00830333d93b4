"""The directories the product writes into, and the lock that keeps a second product out of them."""

import errno
import fcntl
import os
import tempfile
from pathlib import Path

from django.conf import settings

from settings.env import CannotStart


def check_directory(path: Path, variable: str) -> None:
    """Make a directory where it is missing and prove that files can be made in it. Raises CannotStart."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise CannotStart(
            f"Cannot write into {path} ({error.strerror}). Make it writable for this user, or name another directory "
            f"in {variable}."
        ) from None


def check_directories() -> None:
    check_directory(settings.STATE_DIR, "ATTUNE_STATE_DIR")
    check_directory(settings.PACKS_DIR, "ATTUNE_PACKS_DIR")
    check_directory(settings.RUNTIME_ENVS_DIR, "ATTUNE_RUNTIME_ENVS_DIR")
    check_directory(settings.ARTIFACTS_DIR, "ATTUNE_ARTIFACTS_DIR")


class StateDirectoryLock:
    """Hold a state directory until ``release``, or until the kernel gives it up with the process, however it ends."""

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
