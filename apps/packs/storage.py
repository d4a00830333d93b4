"""Pack folders on disk: where they are, staging, replacing and removing in one step, checksums. No database."""

import ctypes
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from django.conf import settings

_STAGING, _PREVIOUS = ".staging", ".previous"
_STAGING_MAX_AGE_SECONDS = 6 * 3600  # older ones were left by a process that was killed
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def packs_dir() -> Path:
    return Path(settings.PACKS_DIR)


def pack_folder(ref: str) -> Path:
    """Return where an uploaded or installed pack lies."""
    return packs_dir() / ref


def previous_folder(ref: str) -> Path:
    """Return where the version before is kept, for a roll-back."""
    return packs_dir() / _PREVIOUS / ref


@contextmanager
def staging_folder() -> Iterator[Path]:
    """Give an empty folder on the disk of the packs; it is removed at the end with all that is still in it."""
    path = _new_staging_folder()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _new_staging_folder() -> Path:
    base = packs_dir() / _STAGING
    base.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(base)
    path = Path(tempfile.mkdtemp(dir=base))
    path.chmod(0o755)
    return path


def _remove_abandoned(base: Path) -> None:
    for entry in base.iterdir():
        try:
            if time.time() - entry.stat().st_mtime > _STAGING_MAX_AGE_SECONDS:
                shutil.rmtree(entry, ignore_errors=True)
        except FileNotFoundError:
            continue  # another upload has just ended


class Replacement:
    """
    The step from a pack's old folder to its new one, and the way back.

    ``make()`` puts the new folder in place, and the old one where the previous version is kept; ``undo()`` takes that
    back.
    """

    def __init__(self, new: Path, ref: str) -> None:
        self._new = new
        self._target = pack_folder(ref)
        self._previous = previous_folder(ref)
        self._back: list[Callable[[], object]] = []

    def make(self) -> None:
        if not self._target.exists():
            self._move(self._new, self._target)
            return
        self._swap(self._new, self._target)
        if self._new == self._previous:
            return  # a roll-back: the two have changed places
        self._previous.parent.mkdir(parents=True, exist_ok=True)
        if self._previous.exists():
            self._swap(self._new, self._previous)  # what was there goes with the staging folder
        else:
            self._move(self._new, self._previous)

    def undo(self) -> None:
        while self._back:
            self._back.pop()()

    def _move(self, old: Path, new: Path) -> None:
        old.rename(new)
        self._back.append(partial(new.rename, old))

    def _swap(self, one: Path, other: Path) -> None:
        _exchange(one, other)
        self._back.append(partial(_exchange, one, other))


def _exchange(one: Path, other: Path) -> None:
    """Swap two folders: in one step where the kernel and the file system know how, else in three renames."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is not None:
        swapped = renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
        if swapped == 0:
            return
    aside = one.with_name(f"{one.name}.aside")
    other.rename(aside)
    one.rename(other)
    aside.rename(one)


class Removal:
    """Take a deleted pack's folders out of the way in one step; ``undo()`` puts them back, ``finish()`` deletes them."""

    def __init__(self, ref: str, path: Path | None) -> None:
        folders = (path, pack_folder(ref), previous_folder(ref))
        self._folders = [folder for folder in folders if folder is not None and _is_ours(folder)]
        self._moved: list[tuple[Path, Path]] = []
        self._aside: Path | None = None

    def make(self) -> None:
        if self._folders:
            self._aside = _new_staging_folder()
        for number, folder in enumerate(dict.fromkeys(self._folders)):
            assert self._aside is not None
            folder.rename(self._aside / str(number))
            self._moved.append((folder, self._aside / str(number)))

    def undo(self) -> None:
        for folder, aside in self._moved:
            aside.rename(folder)
        self._moved = []
        self.finish()

    def finish(self) -> None:
        if self._aside is not None:
            shutil.rmtree(self._aside, ignore_errors=True)


def _is_ours(folder: Path) -> bool:
    """Whether it is a folder inside the packs directory; one registered elsewhere is left alone."""
    if not folder.is_dir():
        return False
    base = packs_dir().resolve()
    return folder.resolve() != base and folder.resolve().is_relative_to(base)


def checksum(folder: Path) -> str:
    """Return the SHA-256 over every file's path, mode and content, in a fixed order."""
    digest = hashlib.sha256()
    for path in sorted(_files(folder), key=lambda file: file.relative_to(folder).as_posix()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        executable = "x" if os.access(path, os.X_OK) else "-"
        digest.update(
            f"{path.relative_to(folder).as_posix()}\0{executable}\0{content}\n".encode(errors="surrogateescape")
        )
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        yield from (Path(root) / name for name in names if not name.endswith(".pyc"))
