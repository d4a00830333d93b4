"""Keep the output of environment builds as artifacts (packs.md section 8)."""

from collections.abc import Iterator
from pathlib import Path

from apps.executions.artifacts import NewArtifact, Origin, add_file_version, find_or_create
from apps.executions.models import ArtifactType, ArtifactVersion, OwnerType
from apps.packs.models import Pack
from apps.workers.models import Runtime

_BLOCK_BYTES = 64 * 1024


def keep_build_log(
    *, pack: Pack, runtime: Runtime, version: str, log: Path, succeeded: bool
) -> ArtifactVersion | None:
    """Store the log of a build as the next version of ``pack.<pack_ref>.<runtime>.build.log``, if there is one."""
    if not log.is_file():
        return None
    artifact, _made = find_or_create(
        NewArtifact(
            ref=f"pack.{pack.ref}.{runtime.name.lower()}.build.log",
            scope=OwnerType.PACK,
            owner=pack.ref,
            type=ArtifactType.FILE_TEXT,
            content_type="text/plain",
        )
    )
    meta = {"runtime_ref": runtime.ref, "runtime_version": version, "succeeded": succeeded}
    return add_file_version(artifact, _blocks(log), Origin(created_by="worker", meta=meta))


def _blocks(log: Path) -> Iterator[bytes]:
    with log.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            yield block
