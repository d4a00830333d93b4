"""
Files beneath the artifacts directory.

Programs may write there, so nothing in it is trusted: a name is opened component by component, no component may be a
link, and only a regular file is opened.
"""

import errno
import gzip
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final, cast

from django.conf import settings

from apps.core.errors import BadRequest, GoneError

BLOCK_BYTES: Final = 64 * 1024

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A program may have put a FIFO there: opening it must not wait for a writer.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# What the system says about a name that is not there, or leads through a link or a file.
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENAMETOOLONG})


class UnsafePath(BadRequest):
    """The path leads out of the artifacts directory"""


class FileShrank(GoneError):
    """The file became shorter while it was read"""


def open_file(name: str) -> BinaryIO | None:
    """Return the file of this name opened for reading, None when there is no such regular file."""
    try:
        with _folder_of(name) as (folder, leaf):
            descriptor = os.open(leaf, _READ, dir_fd=folder)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    return os.fdopen(descriptor, "rb")


def open_file_or_packed(name: str) -> BinaryIO | None:
    """
    Return the file opened for reading, also when it was compressed to ``<name>.gz``; None when there is neither.

    A compressed one is unpacked into a nameless file, on disk, so that offsets and tails work as ever.
    """
    found = open_file(name)
    if found is not None:
        return found
    packed = open_file(f"{name}.gz")
    if packed is None:
        return None
    unpacked = tempfile.TemporaryFile(dir=settings.ARTIFACTS_DIR)  # noqa: SIM115  # the caller closes it
    with packed, gzip.open(packed) as stream:
        shutil.copyfileobj(stream, unpacked, BLOCK_BYTES)
    unpacked.seek(0)
    return cast(BinaryIO, unpacked)


def file_size(name: str) -> int | None:
    """Return the size in bytes of the file of this name, None when there is no such regular file."""
    try:
        with _folder_of(name) as (folder, leaf):
            found = os.stat(leaf, dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def size_of(file: BinaryIO) -> int:
    """Return the size in bytes of an open file."""
    return os.fstat(file.fileno()).st_size


def create_file(name: str) -> BinaryIO:
    """
    Make a new file, and the folders it lies in, and return it opened for writing.

    Raises FileExistsError, and UnsafePath when a link or a file is in the way.
    """
    with _folder_of(name, make=True) as (folder, leaf):
        return os.fdopen(os.open(leaf, _CREATE, 0o640, dir_fd=folder), "w+b")


def append_to(name: str) -> int | None:
    """
    Open the file of this name for appending, made with its folders when it is not there; return its descriptor.

    None when something that is no regular file has the name. Raises UnsafePath when a link or a file is in the way.
    """
    with _folder_of(name, make=True) as (folder, leaf):
        try:
            descriptor = os.open(leaf, _APPEND, 0o640, dir_fd=folder)
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    return descriptor


def names_in(folder: str) -> list[str]:
    """Return the names in a folder, in order; none when there is no such folder."""
    try:
        with _folder_of(f"{folder}/any") as (descriptor, _leaf):
            return sorted(os.listdir(descriptor))
    except OSError as error:
        if error.errno in _ABSENT:
            return []
        raise


def make_folder_of(name: str) -> None:
    """Make the folders in which a file of this name is going to lie."""
    with _folder_of(name, make=True):
        return


def remove_file(name: str) -> bool:
    """Remove the file of this name; False when there was none."""
    try:
        with _folder_of(name) as (folder, leaf):
            os.unlink(leaf, dir_fd=folder)
    except OSError as error:
        if error.errno in _ABSENT:
            return False
        raise
    return True


def remove_file_or_packed(name: str) -> None:
    """Remove the file of this name, compressed or not, if it is there."""
    remove_file(name)
    remove_file(f"{name}.gz")


def read_range(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    """Yield the bytes of a file from ``start`` up to ``end`` in blocks. Raises FileShrank."""
    file.seek(start)
    left = end - start
    while left > 0:
        block = file.read(min(left, BLOCK_BYTES))
        if not block:
            raise FileShrank
        left -= len(block)
        yield block


@contextmanager
def _folder_of(name: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
    """Open the folder a name lies in; yield its descriptor and the last component of the name."""
    *folders, leaf = _components(name)
    if make:
        os.makedirs(settings.ARTIFACTS_DIR, exist_ok=True)
    # The artifacts directory itself may be a link: where it lies is the operator's choice.
    current = os.open(settings.ARTIFACTS_DIR, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for folder in folders:
            below = _open_folder(folder, current, make=make)
            os.close(current)
            current = below
        yield current, leaf
    finally:
        os.close(current)


def _open_folder(name: str, parent: int, *, make: bool) -> int:
    if not make:
        return os.open(name, _FOLDER, dir_fd=parent)
    try:
        os.mkdir(name, 0o750, dir_fd=parent)
    except FileExistsError:
        pass  # somebody was faster, or it is a file or a link: opening it says so
    try:
        return os.open(name, _FOLDER, dir_fd=parent)
    except OSError as error:
        if error.errno in _ABSENT:
            raise UnsafePath from error
        raise


def _components(name: str) -> list[str]:
    components = name.split("/")
    if any(component in ("", ".", "..") or "\0" in component for component in components):
        raise UnsafePath
    return components
