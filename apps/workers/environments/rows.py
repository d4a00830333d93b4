"""The status of environments in the database, for people: which were built, which failed and why."""

from pathlib import Path
from typing import Any

from apps.core.fields import Now
from apps.packs.models import Pack
from apps.workers.models import EnvironmentStatus, PackEnvironment, Runtime


def note(pack: Pack, runtime: Runtime, version: str, path: Path, status: EnvironmentStatus, **fields: Any) -> None:
    """Write the status of one environment."""
    PackEnvironment.objects.update_or_create(
        pack=pack,
        runtime=runtime,
        runtime_version=version,
        defaults={
            "pack_ref": pack.ref,
            "runtime_ref": runtime.ref,
            "path": str(path),
            "status": status,
            **fields,
        },
    )


def note_wanted(pack: Pack, runtime: Runtime, version: str, path: Path, checksum: str) -> None:
    """Say that a build is due: ``outdated`` when there was one of another manifest, else ``pending``."""
    row = PackEnvironment.objects.filter(pack=pack, runtime=runtime, runtime_version=version).first()
    if row is not None and row.manifest_checksum == checksum and row.status != EnvironmentStatus.READY:
        return
    outdated = row is not None and row.installed_at is not None
    note(pack, runtime, version, path, EnvironmentStatus.OUTDATED if outdated else EnvironmentStatus.PENDING)


def note_ready(pack: Pack, runtime: Runtime, version: str, path: Path, checksum: str) -> None:
    note(
        pack,
        runtime,
        version,
        path,
        EnvironmentStatus.READY,
        manifest_checksum=checksum,
        installed_at=Now(),
        last_error=None,
    )
