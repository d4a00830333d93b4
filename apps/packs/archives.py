"""
Unpack an uploaded .tar.gz that may be hostile. No database.

Only plain files and folders with relative names are written, by code of ours and not by tarfile: no link is ever
made, so no name can lead out of the target. Sizes are counted as they are read, never believed.
"""

import gzip
import os
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from apps.core.errors import BadRequest

MAX_ARCHIVE_BYTES = 100 * 1024 * 1024
MAX_TOTAL_BYTES = 512 * 1024 * 1024
MAX_ENTRIES = 20_000
MAX_ENTRY_BYTES = 128 * 1024 * 1024
MAX_HEADER_BYTES = 64 * 1024  # of one extended header; tarfile reads these into memory whole
_OVERHEAD_BYTES = MAX_ENTRIES * 4 * tarfile.BLOCKSIZE  # headers and padding beside the files themselves
_CHUNK_BYTES = 1024 * 1024
_EXTENDED = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


class BadArchive(BadRequest):
    """Failed to extract pack archive"""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Failed to extract pack archive: {reason}")


def extract(archive: IO[bytes], target: Path) -> None:
    """
    Unpack a gzipped tar into an empty folder. Raises BadArchive; what was written by then is the caller's to remove.
    """
    try:
        with gzip.GzipFile(fileobj=archive, mode="rb") as unzipped:
            stream = _Counted(unzipped)
            with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|", tarinfo=_Header) as tar:
                _extract_entries(tar, target)
            stream.drain()
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, UnicodeError, ValueError) as error:
        raise BadArchive(_reason(error)) from error


def pack_root(folder: Path) -> Path:
    """Return where pack.yaml lies: the folder itself or the only folder in it. Raises BadArchive."""
    if (folder / "pack.yaml").is_file():
        return folder
    inner = [entry for entry in folder.iterdir() if entry.is_dir()]
    if len(inner) == 1 and (inner[0] / "pack.yaml").is_file():
        return inner[0]
    raise BadArchive("no pack.yaml at its root or in its only top-level directory")


class _Counted:
    """What comes out of the decompressor, up to a limit."""

    def __init__(self, source: gzip.GzipFile) -> None:
        self._source = source
        self._left = MAX_TOTAL_BYTES + _OVERHEAD_BYTES

    def read(self, size: int) -> bytes:
        data = self._source.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise BadArchive("it unpacks to more than 512 MiB")
        return data

    def drain(self) -> None:
        """Read on to the end, where gzip keeps its checksum."""
        while self.read(_CHUNK_BYTES):
            continue


class _Header(tarfile.TarInfo):
    """A tar header that refuses to be an extended header of unreasonable size."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> "_Header":
        header = super().frombuf(buf, encoding, errors)
        if header.type in _EXTENDED and header.size > MAX_HEADER_BYTES:
            raise BadArchive("an entry's header is too large")
        return header


def _extract_entries(tar: tarfile.TarFile, target: Path) -> None:
    total = 0
    for number, member in enumerate(_members(tar), start=1):
        if number > MAX_ENTRIES:
            raise BadArchive(f"it has more than {MAX_ENTRIES} entries")
        path = target / _safe_name(member)
        try:
            if member.isdir():
                path.mkdir(parents=True, exist_ok=True)
            else:
                total = _write(tar, member, path, total)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise BadArchive(f"'{_shown(member.name)}' stands in the way of another entry") from None
        except OSError as error:
            if error.filename is None:
                raise
            raise BadArchive(f"'{_shown(member.name)}' cannot be written: {error.strerror}") from error


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for member in tar:
        yield member
        tar.members = []  # type: ignore[attr-defined]  # it keeps every header otherwise


def _safe_name(member: tarfile.TarInfo) -> str:
    """Return the entry's relative path. Raises BadArchive for what is no plain file or folder, or leads elsewhere."""
    name = member.name
    if not (member.isdir() or member.type in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)):
        raise BadArchive(f"'{_shown(name)}' is a link or a special file")
    if name.startswith("/"):
        raise BadArchive(f"'{_shown(name)}' is an absolute path")
    if not name.isprintable():
        raise BadArchive(f"'{_shown(name)}' holds control characters or is not UTF-8")
    if ".." in name.split("/"):
        raise BadArchive(f"'{_shown(name)}' leads out of the archive")
    return name


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path, total: int) -> int:
    """Write one file; return how much has been unpacked with it."""
    if member.size > MAX_ENTRY_BYTES:
        raise BadArchive(f"'{_shown(member.name)}' is larger than 128 MiB")
    total += member.size
    if total > MAX_TOTAL_BYTES:
        raise BadArchive("it unpacks to more than 512 MiB")
    source = tar.extractfile(member)
    if source is None:
        raise BadArchive(f"'{_shown(member.name)}' is no plain file")
    path.parent.mkdir(parents=True, exist_ok=True)
    # O_TRUNC: the last of several entries of one name counts, as in any tar.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        left = member.size
        while left:
            data = source.read(min(left, _CHUNK_BYTES))
            if not data:
                raise BadArchive("it ends too early")
            file.write(data)
            left -= len(data)
        os.fchmod(file.fileno(), 0o755 if member.mode & 0o100 else 0o644)
    return total


def _reason(error: Exception) -> str:
    match error:
        case EOFError():
            return "it ends too early"
        case gzip.BadGzipFile():
            return "it is not a gzip file, or damaged"
        case tarfile.ReadError() if "unexpected end of data" in str(error):
            return "it ends too early"
        case tarfile.TarError():
            return "it is not a tar archive, or damaged"
        case _:
            return "it is damaged"


def _shown(name: str) -> str:
    printable = "".join(character if character.isprintable() else "?" for character in name)
    return printable if len(printable) <= 100 else f"{printable[:97]}..."
