"""Permission sets as packs bring them, and the administrator of the first boot."""

import logging
import secrets
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from apps.identity.audit import administration
from apps.identity.errors import LoginTaken
from apps.identity.models import ADMIN_SET_REF, Identity, PermissionAssignment, PermissionSet
from apps.identity.services.identities import create_identity, give_sets

logger = logging.getLogger(__name__)

OWNER_SET_REF = "core.owner"
FIRST_BOOT_SETS = (ADMIN_SET_REF, OWNER_SET_REF)


@dataclass(frozen=True, kw_only=True)
class Administrator:
    """The administrator that was just made, with a password nobody chose: to be shown once."""

    login: str
    password: str


def store_permission_set(
    ref: str,
    *,
    label: str | None = None,
    description: str | None = None,
    grants: Sequence[Mapping[str, Any]] = (),
    pack: int | None = None,
    pack_ref: str | None = None,
) -> PermissionSet:
    """Create or replace a permission set, as a pack brings it; who holds it keeps it."""
    before = PermissionSet.objects.filter(ref=ref).values_list("grants", flat=True).first()
    held, created = PermissionSet.objects.update_or_create(
        ref=ref,
        defaults={
            "label": label,
            "description": description,
            "grants": [dict(grant) for grant in grants],
            "pack": pack,
            "pack_ref": pack_ref,
        },
    )
    if created or held.grants != before:
        administration.permission_set_changed("created" if created else "updated", held, pack=pack_ref)
    return held


def _random_password() -> str:
    """120 bits in letters and digits: it is typed after options and into shells."""
    alphabet = string.ascii_letters + string.digits
    return "".join(secrets.choice(alphabet) for _ in range(20))


def ensure_administrator() -> Administrator | None:
    """
    Create what the settings name, and an administrator when there is none. Call after the core pack is loaded.

    Return login and password when the password was made up here: it is kept nowhere, show it once. Safe to call at
    every start, and by two processes at once.
    """
    for wanted in _configured():
        _ensure(wanted)
    if PermissionAssignment.objects.filter(permset__ref=ADMIN_SET_REF).exists():
        return None
    login, password = settings.ADMIN_LOGIN or "admin", _random_password()
    existing = Identity.objects.filter(login=login).first()
    if existing is not None and settings.ADMIN_LOGIN is None:
        # Whoever took this name must not become administrator by it.
        logger.warning("Nobody holds %s. Give it with: manage.py create_identity --help", ADMIN_SET_REF)
        return None
    if existing is not None:
        give_sets(existing, FIRST_BOOT_SETS)
        return None
    try:
        create_identity(login, password=password, display_name="Administrator", permission_sets=FIRST_BOOT_SETS)
    except LoginTaken:
        return None  # another process was faster, and shows the password
    return Administrator(login=login, password=password)


def _configured() -> list[dict[str, Any]]:
    named = list(settings.SEED_IDENTITIES)
    if settings.ADMIN_PASSWORD is not None:
        named.insert(0, {"login": settings.ADMIN_LOGIN or "admin", "password": settings.ADMIN_PASSWORD})
    return named


def _ensure(wanted: Mapping[str, Any]) -> None:
    sets = wanted.get("permission_sets") or FIRST_BOOT_SETS
    existing = Identity.objects.filter(login=wanted["login"]).first()
    if existing is not None:
        give_sets(existing, sets)
        return
    try:
        create_identity(wanted["login"], password=wanted["password"], permission_sets=sets)
    except LoginTaken:
        return  # another process was faster
