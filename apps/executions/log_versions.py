"""Each log is also an artifact version (execution.md section 13), written in the transaction that ends the run."""

import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection

from apps.actions.models import Action, ArtifactRetentionPolicy
from apps.core import clock, sql
from apps.executions.artifacts import keep_to_limit
from apps.executions.models import Artifact, ArtifactType, ArtifactVersion, Execution, OwnerType
from apps.workers.results import PREVIEW_CHARACTERS, decode

STREAMS = ("stdout", "stderr")
CONTENT_TYPE = "text/plain; charset=utf-8"

_ids: dict[str, int] = {}
_MOST_REMEMBERED = 10_000

_TOUCH = """
UPDATE artifact SET size_bytes = %s, content_type = %s, updated = {now}
WHERE id = %s AND ref = %s RETURNING retention_policy
"""

# The number is taken in the statement that writes it, under the lock that the UPDATE of the artifact holds.
_INSERT_VERSION = """
INSERT INTO artifact_version
    (created, artifact, version, execution, content_type, size_bytes, file_path, storage_name, meta, created_by)
SELECT %s, %s, coalesce(max(version), 0) + 1, %s, %s, %s, %s, %s, %s, 'worker'
FROM artifact_version WHERE artifact = %s
"""


def log_directory(execution_id: int) -> Path:
    """Return where the logs of an execution lie."""
    return Path(settings.ARTIFACTS_DIR) / f"execution_{execution_id}"


def keys_of_logs_on_disk(execution_id: int) -> dict[str, Any]:
    """Return the result keys (preview and path) of every log that is on this machine's disk."""
    keys: dict[str, Any] = {}
    for stream in STREAMS:
        path = log_directory(execution_id) / f"{stream}.log"
        try:
            with path.open("rb") as log:
                head = log.read(4 * PREVIEW_CHARACTERS + 4)
        except OSError:
            continue
        text = decode(head)
        keys[stream] = text if len(text) <= PREVIEW_CHARACTERS else text[:PREVIEW_CHARACTERS] + "..."
        keys[f"{stream}_log"] = str(path)
    return keys


def register_logs(execution: Execution, sizes: dict[str, int] | None = None) -> None:
    """Write a version for each log of the execution that has output; sizes are read from disk when not given."""
    for stream in STREAMS:
        size = sizes.get(stream, 0) if sizes is not None else _size_on_disk(execution.pk, stream)
        if size:
            register_log(execution, stream, size)


def _size_on_disk(execution_id: int, stream: str) -> int:
    try:
        return os.stat(log_directory(execution_id) / f"{stream}.log").st_size
    except OSError:
        return 0


def register_log(execution: Execution, stream: str, size: int) -> None:
    ref = f"{execution.action_ref}.{stream}.log"
    artifact_id = _ids.get(ref)
    policy = _touch(artifact_id, ref, size) if artifact_id is not None else None
    if artifact_id is None or policy is None:
        artifact_id = _artifact(execution, ref).pk
        policy = _touch(artifact_id, ref, size)
    name = f"execution_{execution.pk}/{stream}.log"
    adapt = ArtifactVersion._meta.get_field("meta").get_db_prep_save
    meta = adapt({"stream": stream, "execution_id": execution.pk}, connection)
    created = connection.ops.adapt_datetimefield_value(clock.now())
    with connection.cursor() as cursor:
        cursor.execute(
            _INSERT_VERSION,
            [created, artifact_id, execution.pk, CONTENT_TYPE, size, name, name, meta, artifact_id],
        )
    if policy == ArtifactRetentionPolicy.VERSIONS:
        keep_to_limit(artifact_id)


def _touch(artifact_id: int, ref: str, size: int) -> str | None:
    """
    Copy the size to the artifact, which also locks it, and return its retention policy.

    None when it is not there (deleted, rolled back).
    """
    with connection.cursor() as cursor:
        cursor.execute(_TOUCH.format(now=sql.now_text()), [size, CONTENT_TYPE, artifact_id, ref])
        rows = cursor.fetchall()
    return str(rows[0][0]) if rows else None


def _artifact(execution: Execution, ref: str) -> Artifact:
    # The action may have been deleted since the execution was read.
    actions = Action.objects.filter(pk=execution.action_id or 0)
    policy, limit = actions.values_list("log_retention_policy", "log_retention_limit").first() or (None, None)
    artifact, _created = Artifact.objects.get_or_create(
        ref=ref,
        defaults={
            "scope": OwnerType.ACTION,
            "owner": execution.action_ref,
            "type": ArtifactType.FILE_TEXT,
            "content_type": CONTENT_TYPE,
            "retention_policy": policy or ArtifactRetentionPolicy.DAYS,
            "retention_limit": limit or settings.LOG_RETENTION_DAYS,
        },
    )
    if len(_ids) >= _MOST_REMEMBERED:
        _ids.clear()
    _ids[ref] = artifact.pk
    return artifact


def forget_artifacts() -> None:
    """Forget the ids known in this process (the tables were emptied)."""
    _ids.clear()
