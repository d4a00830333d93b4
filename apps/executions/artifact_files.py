"""The names of artifact files, and writing one. What a client calls its artifact never names a file of the server."""

import hashlib
import mimetypes
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from apps.executions import storage
from apps.executions.models import Artifact, ArtifactType

_EXTENSION_OF_CONTENT: Final = {
    "text/plain": "txt",
    "text/csv": "csv",
    "text/html": "html",
    "text/markdown": "md",
    "application/json": "json",
    "application/octet-stream": "bin",
    "application/x-ndjson": "jsonl",
    "application/gzip": "gz",
    "application/yaml": "yaml",
    "image/jpeg": "jpg",
}
_EXTENSION_OF_TYPE: Final = {
    ArtifactType.FILE_TEXT: "txt",
    ArtifactType.FILE_IMAGE: "png",
    ArtifactType.FILE_DATATABLE: "csv",
    ArtifactType.PROGRESS: "json",
    ArtifactType.URL: "txt",
}
# Refs whose dots can become folders as they are. Folders of logs are the server's own.
_PLAIN_REF: Final = re.compile(r"(?!(execution|sensor)_\d)[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")
_LONGEST_SEGMENT = 100
_CONTENT_TYPE: Final = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(\s*;[ -~]*)?")


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file that was written beneath the artifacts directory."""

    name: str
    size_bytes: int
    sha256: str

    @classmethod
    def written(cls, name: str, blocks: Iterable[bytes]) -> Self:
        """Write the blocks to a new file of this name."""
        digest, size = hashlib.sha256(), 0
        with storage.create_file(name) as file:
            for block in blocks:
                digest.update(block)
                size += len(block)
                file.write(block)
        return cls(name=name, size_bytes=size, sha256=digest.hexdigest())


def is_content_type(text: str) -> bool:
    """Return True for what can stand in a Content-Type header."""
    return len(text) <= 255 and _CONTENT_TYPE.fullmatch(text) is not None


def type_for(content_type: str | None) -> ArtifactType:
    """Return the file-backed type that fits a content type."""
    mime = (content_type or "").split(";", 1)[0].strip().lower()
    if mime == "text/csv":
        return ArtifactType.FILE_DATATABLE
    if mime.startswith("image/"):
        return ArtifactType.FILE_IMAGE
    if mime.startswith("text/") or mime in ("application/json", "application/x-ndjson", "application/yaml"):
        return ArtifactType.FILE_TEXT
    return ArtifactType.FILE_BINARY


def extension(type_: str, content_type: str | None) -> str:
    """Return the file extension, without a dot, that fits the content type, else the artifact's type."""
    mime = (content_type or "").split(";", 1)[0].strip().lower()
    if mime and mime != "application/octet-stream":
        guessed = _EXTENSION_OF_CONTENT.get(mime) or (mimetypes.guess_extension(mime) or "").removeprefix(".")
        if guessed:
            return guessed
    return _EXTENSION_OF_TYPE.get(ArtifactType(type_), "bin")


def logical_path(artifact: Artifact, version: int, content_type: str | None) -> str:
    """
    Return the path of a version's file: the ref with dots as folder separators + ``/v<n>.<ext>``.

    A ref with anything else in it than names and dots is spelled with what is left of it and the artifact's id, so
    that no ref leads out of its folder and no two refs share one.
    """
    ref = artifact.ref
    if _PLAIN_REF.fullmatch(ref) and all(len(segment) <= _LONGEST_SEGMENT for segment in ref.split(".")):
        folder = ref.replace(".", "/")
    else:
        segments = [re.sub(r"[^A-Za-z0-9_-]+", "_", segment)[:_LONGEST_SEGMENT] for segment in ref.split(".")]
        kept = [segment for segment in segments if segment.strip("_-")]
        folder = "/".join(["_named_by_id", str(artifact.pk), *kept[:8]])
    return f"{folder}/v{version}.{extension(artifact.type, content_type)}"


def download_name(artifact: Artifact, version: int, content_type: str | None) -> str:
    """Return the name a download proposes: the ref with dots as ``_``, the version, the extension."""
    stem = re.sub(r"[^A-Za-z0-9_-]", "_", artifact.ref.replace(".", "_"))
    return f"{stem}_v{version}.{extension(artifact.type, content_type)}"
