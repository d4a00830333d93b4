"""What callers may ask of packs: register, upload, create, change, delete, and where a pack's files are."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.db import transaction

from apps.core.errors import BadRequest, NotFound
from apps.identity.models import Identity
from apps.packs import storage
from apps.packs.archives import extract, pack_root
from apps.packs.folder import PackFolder, read_pack
from apps.packs.models import CORE_REF, Pack
from apps.packs.registration import (
    Origin,
    PackExists,
    Registration,
    apply,
    record_pack,
    refuse_existing,
    registering,
)
from apps.packs.registry import loaders
from apps.packs.secrets import put_away
from apps.packs.signals import pack_deleted

# Raises when a pack of this ref may not be brought; with the row that it would replace.
Admission = Callable[[str, Pack | None], None]

BUILTIN, REGISTER, UPLOAD = "builtin", "register", "upload"


class NoSuchFolder(BadRequest):
    """There is no such folder on the server"""


class NoPreviousVersion(NotFound):
    """No previous version of the pack is kept"""


class CorePackIsBuiltIn(BadRequest):
    """The core pack comes with the product and cannot be replaced or deleted"""


def register_pack(
    path: str | Path,
    *,
    force: bool = False,
    by: Identity | None = None,
    skip_tests: bool = False,
    admit: Admission | None = None,
) -> Registration:
    """
    Register the pack in a folder on the server; the files are read in place and stay there.

    ``admit`` raises when this pack may not be brought, or the one that it replaces not be replaced. Raises
    NoSuchFolder, InvalidManifest, PackExists. A component that cannot be used is left out with a warning.
    """
    try:
        directory = Path(path).resolve()
        found = directory.is_dir()
    except OSError:  # a name that is too long, a folder that may not be read
        found = False
    if not found:
        raise NoSuchFolder(f"There is no folder '{str(path)[:200]}' on the server")
    folder = _read(directory)
    if folder.manifest.ref == CORE_REF:
        return _register_core_again(directory, force=force, admit=admit)
    origin = Origin(
        method=REGISTER, source_type="local", storage_path=str(directory), source_url=str(directory), by=by
    )
    with registering(folder.manifest.ref) as existing:
        refuse_existing(existing, force=force)
        if admit is not None:
            admit(folder.manifest.ref, existing)
        registration = apply(folder, origin, existing)
    return replace(registration, tests_skipped=skip_tests or _has_tests(folder))


def upload_pack(
    archive: IO[bytes],
    *,
    force: bool = False,
    by: Identity | None = None,
    skip_tests: bool = False,
    admit: Admission | None = None,
) -> Registration:
    """
    Unpack a .tar.gz into the packs directory and register it; the version before it is kept for a roll-back.

    ``admit`` as in ``register_pack``.

    Raises BadArchive, InvalidManifest, PackExists. After any failure the old pack, rows and files, is as it was.
    """
    with storage.staging_folder() as staging:
        unpacked = staging / "pack"
        unpacked.mkdir()
        extract(archive, unpacked)
        root = pack_root(unpacked)
        folder = _read(root)
        ref = folder.manifest.ref
        if ref == CORE_REF:
            raise CorePackIsBuiltIn
        origin = Origin(
            method=UPLOAD,
            source_type="archive",
            storage_path=str(storage.pack_folder(ref)),
            checksum=storage.checksum(root),
            by=by,
        )
        with _replacing(root, ref) as existing:
            refuse_existing(existing, force=force)
            if admit is not None:
                admit(ref, existing)
            registration = apply(folder, origin, existing)
    return replace(registration, tests_skipped=skip_tests or _has_tests(folder))


def rollback_pack(ref: str) -> Registration:
    """
    Put the version before the last upload back, files and rows; doing it again puts the newer one back.

    Raises NoPreviousVersion.
    """
    previous = storage.previous_folder(ref)
    with _replacing(previous, ref) as existing:  # what is read from here on is what is put back
        if not previous.is_dir():
            raise NoPreviousVersion(f"No previous version of pack '{ref}' is kept")
        origin = Origin(
            method=UPLOAD,
            source_type="archive",
            storage_path=str(storage.pack_folder(ref)),
            checksum=storage.checksum(previous),
        )
        return apply(_read(previous), origin, existing)


def _has_tests(folder: PackFolder) -> bool:
    """Whether the pack asks for tests; nothing runs them yet, so they count as skipped."""
    testing = folder.manifest.testing
    return testing is not None and testing.get("enabled") is not False


@contextmanager
def _replacing(new: Path, ref: str) -> Iterator[Pack | None]:
    """
    Open a registration and give the pack's row, as ``registering`` does; at its end the folder is put in place.

    Rows and files, or neither.
    """
    replacement = storage.Replacement(new, ref)
    try:
        with registering(ref) as existing:
            try:
                yield existing
                replacement.make()  # the last step before the commit: everything that may be refused has been said
            except BaseException:
                replacement.undo()  # as long as nobody else may touch the folders
                raise
    except BaseException:
        replacement.undo()
        raise


def _read(directory: Path) -> PackFolder:
    return read_pack(directory, [loader.folder for loader in loaders()])


# --- The core pack ----------------------------------------------------------------------------------------------


def load_core_pack(*, force: bool = False) -> Pack:
    """Bring the core pack in step with the product's files; does nothing when it is. Any number may run at once."""
    checksum = _core_checksum()
    pack = Pack.objects.filter(ref=CORE_REF).first()
    if pack is not None and pack.checksum == checksum and not force:
        return pack
    directory = Path(settings.CORE_PACK_DIR)
    folder = _read(directory)
    origin = Origin(
        method=BUILTIN, source_type="local", storage_path=str(directory), checksum=checksum, is_standard=True
    )
    with registering(CORE_REF) as existing:
        if existing is not None and existing.checksum == checksum and not force:
            return existing  # another process was first
        return apply(folder, origin, existing).pack


def _core_checksum() -> str:
    """Return what the core pack's rows depend on: its files, the product's version and which kinds can be loaded."""
    kinds = ",".join(loader.folder for loader in loaders())
    parts = f"{storage.checksum(Path(settings.CORE_PACK_DIR))}\n{settings.ATTUNE_VERSION}\n{kinds}"
    return hashlib.sha256(parts.encode()).hexdigest()


def _register_core_again(directory: Path, *, force: bool, admit: Admission | None) -> Registration:
    if directory != Path(settings.CORE_PACK_DIR).resolve():
        raise CorePackIsBuiltIn
    known = Pack.objects.filter(ref=CORE_REF).first()
    if known is not None and not force:
        raise PackExists(CORE_REF)
    if admit is not None:
        admit(CORE_REF, known)
    pack = load_core_pack(force=True)
    return Registration(pack=pack, warnings=pack.warnings, created=known is None)


# --- Rows without files -----------------------------------------------------------------------------------------


@transaction.atomic
def create_pack(*, by: Identity | None, **fields: Any) -> Pack:
    """Create an empty pack; its components are made one by one."""
    pack = Pack(**fields, installed_by=by)
    pack.full_clean(exclude=["installed_by"], validate_unique=False)
    secrets = put_away(pack)
    pack.save(force_insert=True)
    secrets.keep(pack)
    record_pack("created", pack, version=pack.version)
    return pack


@transaction.atomic
def update_pack(pack: Pack, changes: Mapping[str, Any]) -> Pack:
    """Change some fields of a pack; a marker in the config keeps the secret it stands for."""
    found = Pack.objects.select_for_update(no_key=True).filter(pk=pack.pk).first()
    if found is None:
        raise NotFound(f"Pack '{pack.ref}' was deleted meanwhile")
    pack = found
    for name, value in changes.items():
        setattr(pack, name, value)
    pack.clean_fields(exclude=["installed_by"])
    if changes.keys() & {"config", "conf_schema"}:
        put_away(pack).keep(pack)
    pack.save(update_fields={*changes, "config", "updated"} if "conf_schema" in changes else {*changes, "updated"})
    record_pack("updated", pack, changed=sorted(changes))
    return pack


def delete_pack(pack: Pack) -> None:
    """
    Delete a pack with all its components, and its folder when that lies in the packs directory.

    Raises UnprocessableEntity while a key is owned by it or an action of another pack uses one of its runtimes,
    NotFound when it is gone already.
    """
    if pack.ref == CORE_REF:
        raise CorePackIsBuiltIn
    pack_id, ref = pack.pk, pack.ref
    removal: storage.Removal | None = None
    try:
        with registering(ref) as found:
            if found is None or found.pk != pack_id:
                raise NotFound(f"Pack '{ref}' was deleted meanwhile")
            removal = storage.Removal(ref, Path(found.storage_path) if found.storage_path else None)
            record_pack("deleted", found)
            found.delete()
            removal.make()  # aside, not gone: the same ref may be uploaded again right after the commit
            transaction.on_commit(removal.finish)
            transaction.on_commit(partial(pack_deleted.send, sender=Pack, pack_id=pack_id, pack_ref=ref))
    except BaseException:
        if removal is not None:
            removal.undo()
        raise


def pack_directory(pack: Pack) -> Path | None:
    """Return where the pack's files lie on this machine, None when it has none here."""
    if pack.ref == CORE_REF:
        path = Path(settings.CORE_PACK_DIR)  # each machine's own installation
    elif pack.installation_method == REGISTER and pack.storage_path:
        path = Path(pack.storage_path)
    else:
        path = storage.pack_folder(pack.ref)
    return path if path.is_dir() else None
