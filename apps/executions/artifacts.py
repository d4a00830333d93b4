"""
Artifacts and their versions: made, changed, numbered, kept to their limit, removed.

The number of a version and the removal of the oldest ones happen under a lock on the artifact's row, so two inserts at
once get two numbers. A file is written before its row and removed when the row does not come; files of removed rows
go after the commit.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, Final
from uuid import uuid4

from django.db import IntegrityError, transaction
from django.db.models import JSONField, Max, QuerySet, Value

from apps.actions.models import Action, ArtifactRetentionPolicy
from apps.core.errors import BadRequest, ConflictError, NotFound
from apps.executions import storage
from apps.executions.artifact_files import StoredFile, logical_path
from apps.executions.models import (
    FILE_BACKED,
    Artifact,
    ArtifactType,
    ArtifactVersion,
    Execution,
    OwnerType,
    Visibility,
)

_LOG_REF: Final = re.compile(r"execution\.(?P<execution>[0-9]{1,18})\.(?P<stream>stdout|stderr)")
DEFAULT_LIMIT: Final = 5
DEFAULT_LIMIT_BY_REF: Final = 10  # of an artifact that an upload by ref makes
LARGEST_RESULT_BYTES: Final = 64 * 1024
# Results go with their execution (model.md 8.2), never before it: the retention of their artifact must not bite first.
_RESULTS_KEPT_DAYS: Final = 36_500


class ArtifactNotFound(NotFound):
    """Artifact not found"""


class VersionNotFound(NotFound):
    """Artifact version not found"""


class ContentMissing(NotFound):
    """The file of this version is not there"""


class RefTaken(ConflictError):
    """Already exists (artifact with this ref)"""


class NotProgress(BadRequest):
    """Only an artifact of type progress takes entries"""


class NotFileBacked(BadRequest):
    """The artifact's type is not file-backed"""


@dataclass(frozen=True, kw_only=True)
class NewArtifact:
    """
    An artifact to be made; None means the default.

    ``execution`` is the one that stores it: its retention, or its action's, stands in for what is not given.
    """

    ref: str
    scope: str
    owner: str
    type: str
    visibility: str | None = None
    retention_policy: str | None = None
    retention_limit: int | None = None
    name: str | None = None
    description: str | None = None
    content_type: str | None = None
    data: Any = None
    execution: int | None = None


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a version comes from and what is said about it."""

    execution: int | None = None
    content_type: str | None = None
    meta: Any = None
    created_by: str | None = None


# --- Artifacts ---------------------------------------------------------------------------------------------------
def create_artifact(new: NewArtifact, *, default_limit: int = DEFAULT_LIMIT) -> Artifact:
    """Store a new artifact. Raises RefTaken."""
    policy, limit = retention_of(new, default_limit=default_limit)
    try:
        with transaction.atomic():
            return Artifact.objects.create(
                ref=new.ref,
                scope=new.scope,
                owner=new.owner,
                type=new.type,
                visibility=_visibility_of(new),
                retention_policy=policy,
                retention_limit=limit,
                name=new.name,
                description=new.description,
                content_type=new.content_type,
                data=new.data,
            )
    except IntegrityError as error:
        if Artifact.objects.filter(ref=new.ref).exists():
            raise RefTaken(f"Artifact with ref '{new.ref}' already exists") from error
        raise


def described(new: NewArtifact) -> dict[str, Any]:
    """Return what checks of grants look at of an artifact that is not made yet."""
    return {"ref": new.ref, "scope": new.scope, "owner": new.owner, "visibility": _visibility_of(new)}


def _visibility_of(new: NewArtifact) -> str:
    return new.visibility or (Visibility.PUBLIC if new.type == ArtifactType.PROGRESS else Visibility.PRIVATE)


def retention_of(new: NewArtifact, *, default_limit: int = DEFAULT_LIMIT) -> tuple[str, int]:
    """Return policy and limit: those of the request, else of the execution, else of its or the owning action."""
    execution = Execution.objects.filter(pk=new.execution).first() if new.execution is not None else None
    action_ref = execution.action_ref if execution is not None else new.owner
    action = (
        Action.objects.filter(ref=action_ref).first()
        if execution is not None or new.scope == OwnerType.ACTION
        else None
    )
    sources = (
        (new.retention_policy, new.retention_limit),
        (execution.artifact_retention_policy, execution.artifact_retention_limit) if execution else (None, None),
        (action.artifact_retention_policy, action.artifact_retention_limit) if action else (None, None),
    )
    for policy, limit in sources:
        if policy is not None or limit is not None:
            return policy or ArtifactRetentionPolicy.VERSIONS, limit or default_limit
    return ArtifactRetentionPolicy.VERSIONS, default_limit


def find_by_ref(rows: QuerySet[Artifact], ref: str) -> Artifact:
    """
    Return the artifact among ``rows`` with this ref; ``execution.<id>.stdout`` names that of the log. Raises ArtifactNotFound.

    Of a log, size and content type are those of that execution's version.
    """
    found = rows.filter(ref=ref).first()
    if found is not None:
        return found
    if log := _LOG_REF.fullmatch(ref):
        version = ArtifactVersion.objects.filter(
            execution=int(log["execution"]), artifact__in=rows, artifact__ref__endswith=f".{log['stream']}.log"
        )
        version_of_log = version.select_related("artifact").first()
        if version_of_log is not None:
            version_of_log.artifact.size_bytes = version_of_log.size_bytes
            return version_of_log.artifact
    raise ArtifactNotFound(f"Artifact '{ref}' not found")


def artifacts_of_execution(execution_id: int) -> QuerySet[ArtifactVersion, int]:
    """Return the ids of the artifacts that have a version from an execution, as a subquery."""
    return ArtifactVersion.objects.filter(execution=execution_id).values_list("artifact", flat=True)


def find_or_create(new: NewArtifact) -> tuple[Artifact, bool]:
    """Return the artifact with this ref, made when there is none, and whether it was made."""
    found = Artifact.objects.filter(ref=new.ref).first()
    if found is not None:
        return found, False
    try:
        return create_artifact(new, default_limit=DEFAULT_LIMIT_BY_REF), True
    except RefTaken:
        return Artifact.objects.get(ref=new.ref), False


@transaction.atomic
def update_artifact(artifact_id: int, changes: Mapping[str, Any]) -> Artifact:
    """Write the given columns; a smaller limit of versions removes the oldest at once. Raises ArtifactNotFound."""
    artifact = _locked(artifact_id)
    if changes:
        artifact.set(**changes)
    _keep_to_limit(artifact)
    return artifact


@transaction.atomic
def append_progress(artifact_id: int, entry: Any) -> Artifact:
    """Append an entry to the data of a progress artifact. Raises ArtifactNotFound, NotProgress."""
    artifact = _locked(artifact_id)
    if artifact.type != ArtifactType.PROGRESS:
        raise NotProgress
    if artifact.data is not None and not isinstance(artifact.data, list):
        raise BadRequest("The data of this artifact is no list, so nothing can be appended")
    return artifact.set(data=[*(artifact.data or []), entry])


@transaction.atomic
def delete_artifact(artifact_id: int) -> None:
    """Remove an artifact with its versions; their files go after the commit. Raises ArtifactNotFound."""
    artifact = _locked(artifact_id)
    _remove_versions(artifact.versions.all())
    artifact.delete()


# --- Versions ----------------------------------------------------------------------------------------------------
@transaction.atomic
def add_json_version(artifact_id: int, content: Any, origin: Origin) -> ArtifactVersion:
    """Store a JSON value (null too) as the next version."""
    size = len(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(errors="replace"))
    # SQL NULL would mean "no content": JSON's null has to be said.
    value = Value(None, JSONField()) if content is None else content
    version = _insert(
        _locked(artifact_id),
        origin,
        content_type=origin.content_type or "application/json",
        size_bytes=size,
        content_json=value,
    )
    version.content_json = content
    return version


def add_file_version(artifact: Artifact, file: Iterable[bytes], origin: Origin) -> ArtifactVersion:
    """Store the blocks of a file as the next version. Raises ArtifactNotFound."""
    stored = _write(f".versions/{artifact.pk}/{uuid4().hex}", file)
    try:
        with transaction.atomic():
            locked = _locked(artifact.pk)
            return _insert(
                locked,
                origin,
                content_type=origin.content_type or locked.content_type or "application/octet-stream",
                size_bytes=stored.size_bytes,
                sha256=stored.sha256,
                storage_name=stored.name,
            )
    except BaseException:
        storage.remove_file(stored.name)
        raise


@transaction.atomic
def allocate_file(artifact_id: int, origin: Origin) -> ArtifactVersion:
    """
    Reserve the next version for a file that the caller writes itself at ``file_path`` below the artifacts directory.

    Raises ArtifactNotFound, NotFileBacked.
    """
    artifact = _locked(artifact_id)
    if artifact.type not in FILE_BACKED:
        raise NotFileBacked(f"An artifact of type {artifact.type} is not file-backed")
    version = _insert(artifact, origin, content_type=origin.content_type or artifact.content_type, size_bytes=None)
    assert version.file_path is not None
    storage.make_folder_of(version.file_path)
    return version


@transaction.atomic
def delete_version(artifact_id: int, number: int) -> None:
    """Remove one version; its file goes after the commit. Raises ArtifactNotFound, VersionNotFound."""
    artifact = _locked(artifact_id)
    if not _remove_versions(artifact.versions.filter(version=number)):
        raise VersionNotFound(f"Artifact '{artifact.ref}' has no version {number}")


def open_version(version: ArtifactVersion) -> tuple[BinaryIO, int]:
    """Return the file of a version opened for reading, and its size. Raises ContentMissing."""
    name = version.storage_name or version.file_path
    file = storage.open_file_or_packed(name) if name is not None else None
    if file is None:
        raise ContentMissing(f"The file of version {version.version} is not there")
    return file, storage.size_of(file)


def record_allocated_sizes(execution_id: int) -> None:
    """Write down the sizes of the files that a run allocated and wrote itself; call when it has ended."""
    allocated = ArtifactVersion.objects.filter(
        execution=execution_id, size_bytes=None, storage_name=None, file_path__isnull=False
    )
    for version in allocated.select_related("artifact"):
        size = storage.file_size(version.file_path) if version.file_path is not None else None
        if size is not None:
            ArtifactVersion.objects.filter(pk=version.pk).update(size_bytes=size)
            version.artifact.set(size_bytes=size)


# --- Results that are too long for their row ---------------------------------------------------------------------
def store_large_result(execution: Execution, result: dict[str, Any]) -> dict[str, Any]:
    """
    Return the result as it fits into its row, the values that make it longer than 64 KiB stored as artifact versions.

    Call in the transaction that ends the run. ``result_artifact`` and ``result_size_bytes`` of the instance are set,
    not saved. The values themselves come back through ``whole_result``.
    """
    sizes = {key: _json_bytes(value) for key, value in result.items()}
    total = _json_bytes(result)
    if total <= LARGEST_RESULT_BYTES:
        return result
    execution.result_size_bytes = total
    artifact = _result_artifact(execution)
    execution.result_artifact = artifact
    short = dict(result)
    for key in sorted(sizes, key=lambda name: sizes[name], reverse=True):
        if _json_bytes(short) <= LARGEST_RESULT_BYTES:
            break
        origin = Origin(execution=execution.pk, meta={"key": key, "execution_id": execution.pk}, created_by="worker")
        version = add_json_version(artifact.pk, result[key], origin)
        short[key] = {
            "$attune_artifact": {"id": artifact.pk, "version": version.version, "size_bytes": version.size_bytes}
        }
    return short


def whole_result(execution: Execution) -> Any:
    """
    Return the result with the values that were stored apart back in their places.

    A program may print something that looks like our reference: only versions that were stored for this very
    execution are followed.
    """
    result = execution.result
    if not isinstance(result, dict):
        return result
    references = {key: found for key, value in result.items() if (found := _reference(value)) is not None}
    if not references:
        return result
    stored = ArtifactVersion.objects.filter(
        execution=execution.pk, created_by="worker", artifact__ref=_result_ref(execution)
    )
    values = {(version.artifact_id, version.version): version.content_json for version in stored}
    return {**result, **{key: values[found] for key, found in references.items() if found in values}}


def _reference(value: Any) -> tuple[Any, Any] | None:
    match value:
        case {"$attune_artifact": {"id": int() as artifact_id, "version": int() as version}}:
            return artifact_id, version
        case _:
            return None


def _result_ref(execution: Execution) -> str:
    return f"{execution.action_ref}.result"


def _result_artifact(execution: Execution) -> Artifact:
    artifact, _made = Artifact.objects.get_or_create(
        ref=_result_ref(execution),
        defaults={
            "scope": OwnerType.ACTION,
            "owner": execution.action_ref,
            "type": ArtifactType.OTHER,
            "content_type": "application/json",
            "retention_policy": ArtifactRetentionPolicy.DAYS,
            "retention_limit": _RESULTS_KEPT_DAYS,
        },
    )
    return artifact


def _json_bytes(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace"))


# --- Inside ------------------------------------------------------------------------------------------------------
def _locked(artifact_id: int) -> Artifact:
    artifact = Artifact.objects.select_for_update(no_key=True).filter(pk=artifact_id).first()
    if artifact is None:
        raise ArtifactNotFound(f"Artifact with ID {artifact_id} not found")
    return artifact


def _insert(artifact: Artifact, origin: Origin, *, content_type: str | None, **content: Any) -> ArtifactVersion:
    """Write the next version of a locked artifact, and keep the artifact to its limit."""
    highest = artifact.versions.aggregate(highest=Max("version"))["highest"] or 0
    number = highest + 1
    if "content_json" not in content:
        content["file_path"] = logical_path(artifact, number, content_type)
    version = ArtifactVersion.objects.create(
        artifact=artifact,
        version=number,
        execution=origin.execution,
        content_type=content_type,
        meta=origin.meta,
        created_by=origin.created_by,
        **content,
    )
    artifact.set(size_bytes=version.size_bytes, content_type=content_type)
    _keep_to_limit(artifact)
    return version


def keep_to_limit(artifact_id: int) -> None:
    """Remove the oldest versions of an artifact beyond its limit; its row is locked already."""
    _keep_to_limit(Artifact.objects.get(pk=artifact_id))


def _keep_to_limit(artifact: Artifact) -> None:
    if artifact.retention_policy != ArtifactRetentionPolicy.VERSIONS:
        return
    newest = artifact.versions.order_by("-version").values_list("version", flat=True)
    oldest_kept = newest[artifact.retention_limit - 1 : artifact.retention_limit].first()
    if oldest_kept is not None:
        _remove_versions(artifact.versions.filter(version__lt=oldest_kept))


def _remove_versions(versions: QuerySet[ArtifactVersion]) -> int:
    found = list(versions.values_list("pk", "storage_name", "file_path"))
    removed, _by_model = ArtifactVersion.objects.filter(pk__in=[pk for pk, _stored, _path in found]).delete()
    for _pk, stored, path in found:
        name = stored or path
        if name is not None:
            transaction.on_commit(partial(storage.remove_file_or_packed, name), robust=True)
    return removed


def _write(name: str, blocks: Iterable[bytes]) -> StoredFile:
    try:
        return StoredFile.written(name, blocks)
    except BaseException:
        storage.remove_file(name)
        raise
