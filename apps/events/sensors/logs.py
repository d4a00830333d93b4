"""
The output of sensors as artifacts: ``sensor.<ref>.stdout`` and ``.stderr``, a version for each file.

The files are written without the database (``output.py``); the versions are brought in step with them afterwards.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import BinaryIO, Final, Self, cast

from django.conf import settings
from django.db import transaction
from django.db.models import Max

from apps.actions.models import ArtifactRetentionPolicy
from apps.core import clock
from apps.events.models import Sensor
from apps.events.sensors.output import Keeping, LogFiles
from apps.executions import storage
from apps.executions.logs import STREAMS, Stream, tail_offset
from apps.executions.models import Artifact, ArtifactType, ArtifactVersion, OwnerType, Visibility

CONTENT_TYPE: Final = "text/plain; charset=utf-8"
# A disk is not filled by a sensor that prints without end, whatever age its logs are kept to. Who wants more of them
# says so by `log_retention_policy: versions`.
MOST_FILES: Final = 5
_PERIODS: Final = {
    ArtifactRetentionPolicy.DAYS: timedelta(days=1),
    ArtifactRetentionPolicy.HOURS: timedelta(hours=1),
    ArtifactRetentionPolicy.MINUTES: timedelta(minutes=1),
}


@dataclass(frozen=True, kw_only=True)
class Retention:
    """How long logs of a sensor are kept: so many files, or files so young; the columns ``log_retention_*``."""

    policy: str
    limit: int

    @classmethod
    def of(cls, sensor: Sensor) -> "Retention":
        policy = sensor.log_retention_policy or ArtifactRetentionPolicy.DAYS
        default = settings.LOG_RETENTION_DAYS if policy == ArtifactRetentionPolicy.DAYS else MOST_FILES
        return cls(policy=policy, limit=sensor.log_retention_limit or default)

    @property
    def period(self) -> timedelta | None:
        """The unit of an age, also how often another file is begun; None when files are counted."""
        return _PERIODS.get(ArtifactRetentionPolicy(self.policy))

    def keeping(self, stream: Stream) -> Keeping:
        period = self.period
        return Keeping(
            file_bytes=settings.MAX_STDOUT_BYTES if stream == "stdout" else settings.MAX_STDERR_BYTES,
            files=self.limit if period is None else MOST_FILES,
            new_file_seconds=period.total_seconds() if period is not None else None,
        )


def artifact_ref(sensor_ref: str, stream: Stream) -> str:
    return f"sensor.{sensor_ref}.{stream}"


def folder_of(sensor_id: int) -> str:
    """Return the folder of a sensor's logs beneath the artifacts directory."""
    return f"sensor_{sensor_id}"


def files_of(sensor_id: int, stream: Stream, worker_id: int) -> LogFiles:
    return LogFiles(folder=folder_of(sensor_id), stream=stream, worker_id=worker_id)


# --- In step with the files --------------------------------------------------------------------------------------


def bring_in_step(sensor: Sensor, worker_id: int) -> None:
    """Give each file that a worker wrote for a sensor its version, with its size, and forget what is no longer there."""
    for stream in STREAMS:
        files = files_of(sensor.pk, stream, worker_id)
        sizes = {name: storage.file_size(name) or 0 for name in map(files.name, files.numbers())}
        artifact = Artifact.objects.filter(ref=artifact_ref(sensor.ref, stream)).first()
        if sizes or artifact is not None:
            _write_versions(artifact or _artifact(sensor, stream), sizes, worker_id)


@transaction.atomic
def _write_versions(artifact: Artifact, sizes: dict[str, int], worker_id: int) -> None:
    locked = Artifact.objects.select_for_update(no_key=True).filter(pk=artifact.pk).first()
    if locked is None:
        return
    author = f"worker:{worker_id}"
    known = {version.storage_name: version for version in locked.versions.filter(created_by=author)}
    locked.versions.filter(pk__in=[version.pk for name, version in known.items() if name not in sizes]).delete()
    number = locked.versions.aggregate(highest=Max("version"))["highest"] or 0
    for name, size in sizes.items():
        version = known.get(name)
        if version is None:
            number += 1
            ArtifactVersion.objects.create(
                artifact=locked,
                version=number,
                content_type=CONTENT_TYPE,
                size_bytes=size,
                file_path=name,
                storage_name=name,
                created_by=author,
            )
        elif version.size_bytes != size:
            ArtifactVersion.objects.filter(pk=version.pk).update(size_bytes=size)
    newest = next(reversed(sizes.values()), None)
    if newest is not None and locked.size_bytes != newest:
        locked.set(size_bytes=newest)


def _artifact(sensor: Sensor, stream: Stream) -> Artifact:
    retention = Retention.of(sensor)
    return Artifact.objects.get_or_create(
        ref=artifact_ref(sensor.ref, stream),
        defaults={
            "scope": OwnerType.SENSOR,
            "owner": sensor.ref,
            "type": ArtifactType.FILE_TEXT,
            "visibility": Visibility.PRIVATE,
            "content_type": CONTENT_TYPE,
            "retention_policy": retention.policy,
            "retention_limit": retention.limit,
        },
    )[0]


def remove_old(sensor: Sensor) -> None:
    """Remove the files, whichever worker wrote them, that are older than the sensor's logs are kept."""
    retention = Retention.of(sensor)
    if retention.period is None:
        return
    before = clock.now() - retention.period * (retention.limit + 1)  # of its first line; it was written for a period
    old = ArtifactVersion.objects.filter(artifact__in=_artifacts(sensor), created__lt=before)
    for pk, name in list(old.values_list("pk", "storage_name")):
        if name is not None:
            storage.remove_file(name)
        ArtifactVersion.objects.filter(pk=pk).delete()


def _artifacts(sensor: Sensor) -> "list[int]":
    refs = [artifact_ref(sensor.ref, stream) for stream in STREAMS]
    return list(Artifact.objects.filter(ref__in=refs).values_list("pk", flat=True))


def artifact_ids(sensor: Sensor) -> dict[str, int]:
    """Return the ids of the artifacts of a sensor's logs, by ref; one exists once its stream has output."""
    refs = [artifact_ref(sensor.ref, stream) for stream in STREAMS]
    return dict(Artifact.objects.filter(ref__in=refs).values_list("ref", "pk"))


# --- Reading -----------------------------------------------------------------------------------------------------


class SensorLog:
    """One stream of a sensor: its files in a row, at the sizes they had when it was opened; close it, or use ``with``."""

    def __init__(self, files: list[BinaryIO]) -> None:
        self._files = files
        self._sizes = [storage.size_of(file) for file in files]
        self._position = 0
        self.size_bytes = sum(self._sizes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def seek(self, offset: int) -> int:
        self._position = offset
        return offset

    def read(self, size: int) -> bytes:
        """Return the next bytes; fewer than ``size`` only at the end."""
        blocks, start = [], 0
        for file, length in zip(self._files, self._sizes, strict=True):
            if start <= self._position < start + length and size > 0:
                file.seek(self._position - start)
                block = file.read(min(size, start + length - self._position))
                blocks.append(block)
                self._position += len(block)
                size -= len(block)
            start += length
        return b"".join(blocks)

    def close(self) -> None:
        for file in self._files:
            file.close()

    def part(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes from ``start`` up to ``end`` in blocks. Raises FileShrank."""
        return storage.read_range(cast(BinaryIO, self), start, end)

    def tail_start(self, lines: int) -> int:
        """Return the offset at which the last ``lines`` lines begin."""
        return tail_offset(cast(BinaryIO, self), self.size_bytes, lines)


def open_log(sensor: Sensor, stream: Stream) -> SensorLog:
    """Open what is there of a stream, oldest first; files that are not on this machine are left out."""
    versions = ArtifactVersion.objects.filter(artifact__ref=artifact_ref(sensor.ref, stream)).order_by("version")
    names = [name for name in versions.values_list("storage_name", flat=True) if name is not None]
    return SensorLog([file for name in names if (file := storage.open_file(name)) is not None])
