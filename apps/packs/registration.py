"""Bring the rows of a pack in step with its folder: one procedure for register, upload, install and the core pack."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from apps.core.errors import ConflictError
from apps.identity import audit
from apps.identity.models import Identity
from apps.packs.components import Component, ComponentFile, FaultyComponent, Warning, faults
from apps.packs.folder import PackFolder
from apps.packs.models import Pack
from apps.packs.registry import STRICT_FOLDERS, ComponentLoader, loaders
from apps.packs.secrets import put_away
from apps.packs.signals import pack_registered


class PackExists(ConflictError):
    """The pack already exists"""

    def __init__(self, ref: str) -> None:
        super().__init__(f"Pack '{ref}' already exists. Use force=true to reinstall.")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a pack comes from and who brought it."""

    method: str  # register, upload, builtin
    source_type: str
    storage_path: str
    by: Identity | None = None
    checksum: str | None = None
    source_url: str | None = None
    source_ref: str | None = None
    is_standard: bool = False


@dataclass(frozen=True, kw_only=True)
class Registration:
    """What came of a registration; ``warnings`` name what was left out."""

    pack: Pack
    warnings: list[Warning]
    created: bool
    tests_skipped: bool = True
    test_result: dict[str, Any] | None = None


# What the audit trail calls the ways in which a pack comes.
_EVENTS = {"register": "registered", "upload": "uploaded", "builtin": "installed"}


def record_pack(what: str, pack: Pack, **details: Any) -> None:
    """Tell the audit trail what became of a pack."""
    audit.record(f"pack.{what}", resource_type="pack", resource_id=pack.pk, resource_ref=pack.ref, details=details)


@contextmanager
def registering(ref: str) -> Iterator[Pack | None]:
    """
    Open the transaction of one registration and give the pack's row; no other registration of it runs meanwhile.

    Rows of the pack may be made and changed all the same: what they ask of the pack's row is not refused by this lock.
    """
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"attune.pack.{ref}"])
        yield Pack.objects.select_for_update(no_key=True).filter(ref=ref).first()


def refuse_existing(pack: Pack | None, *, force: bool) -> None:
    """Raise PackExists unless the pack is new or may be replaced."""
    if pack is not None and not force:
        raise PackExists(pack.ref)


def apply(folder: PackFolder, origin: Origin, existing: Pack | None) -> Registration:
    """Write the pack's row and all its components; call it within ``registering``."""
    pack = _write_pack(folder, origin, existing)
    warnings = [*folder.manifest.warnings, *_load_components(pack, folder)]
    Pack.objects.filter(pk=pack.pk).update(warnings=warnings)
    pack.refresh_from_db()
    created = existing is None
    transaction.on_commit(partial(pack_registered.send, sender=Pack, pack=pack, created=created))
    record_pack(_EVENTS[origin.method], pack, version=pack.version, replaced=not created)
    return Registration(pack=pack, warnings=warnings, created=created)


def _write_pack(folder: PackFolder, origin: Origin, existing: Pack | None) -> Pack:
    manifest = folder.manifest
    pack = existing or Pack(
        ref=manifest.ref, config=manifest.config or {}, installed_by=origin.by, is_standard=origin.is_standard
    )
    now: datetime = timezone.now()
    for name, value in {
        "label": manifest.label,
        "description": manifest.description,
        "version": manifest.version,
        "conf_schema": manifest.conf_schema,
        "meta": manifest.meta,
        "tags": manifest.tags,
        "runtime_deps": manifest.runtime_deps,
        "dependencies": manifest.dependencies,
        "preload": manifest.preload,
        "source_type": origin.source_type,
        "source_url": origin.source_url,
        "source_ref": origin.source_ref,
        "checksum": origin.checksum,
        "checksum_verified": False,
        "installed_at": now,
        "installation_method": origin.method,
        "storage_path": origin.storage_path,
    }.items():
        setattr(pack, name, value)
    pack.clean_fields(exclude=["installed_by"])
    secrets = put_away(pack)  # the schema may be another one now
    pack.save()
    secrets.keep(pack)
    return pack


def _load_components(pack: Pack, folder: PackFolder) -> list[Warning]:
    """Load every kind in its order, then remove what is stale, the last kind first; return the warnings."""
    warnings: list[Warning] = []
    kept: list[tuple[ComponentLoader, set[str]]] = []
    for loader in loaders():
        files = folder.components.get(loader.folder, [])
        refs: set[str] = set()
        for file in files:
            if file.problem is not None:
                warnings.append({"file": file.path, "line": file.problem_line, "message": _unreadable(file)})
                if loader.folder in STRICT_FOLDERS:
                    return warnings
                continue
            refs.add(_load(loader, pack, file, warnings))
        if all(file.problem is None for file in files):
            kept.append((loader, refs))
        # else: the ref of a file that cannot be read is not known, so nothing of its kind counts as stale
    for loader, refs in reversed(kept):
        for message in loader.remove_stale(pack, refs):
            warnings.append({"file": loader.folder, "line": None, "message": message})
    return warnings


def _unreadable(file: ComponentFile) -> str:
    return f"not parsable: {file.problem}"


def _load(loader: ComponentLoader, pack: Pack, file: ComponentFile, warnings: list[Warning]) -> str:
    """Load one component, leave it out with a warning when it is faulty; return its ref, which stays either way."""
    component = Component(file=file, pack_ref=pack.ref)
    try:
        with transaction.atomic():
            loader.load(pack, component)
    except FaultyComponent as error:
        warnings.append(faults(component, error))
    except ValidationError as error:
        warnings.append({"file": file.path, "line": None, "message": "; ".join(error.messages)})
    except DatabaseError:
        # Such as a row of the same ref that was made through the API this very moment.
        warnings.append({"file": file.path, "line": None, "message": "the database refused it"})
    warnings.extend(component.warnings)
    return component.ref
