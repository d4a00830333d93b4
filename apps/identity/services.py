"""What can be done with identities: sign in, register, change, and the administrator of the first boot."""

import logging
import secrets
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from apps.core import clock
from apps.core.errors import Forbidden, NotFound, ValidationFailed
from apps.identity import passwords, throttle, tokens
from apps.identity.errors import IdentityFrozen, LoginTaken, WrongCredentials
from apps.identity.models import (
    ADMIN_SET_REF,
    SYSTEM_LOGIN,
    Identity,
    PermissionAssignment,
    PermissionSet,
)

logger = logging.getLogger(__name__)

OWNER_SET_REF = "core.owner"
FIRST_BOOT_SETS = (ADMIN_SET_REF, OWNER_SET_REF)


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """What signing in gives."""

    access_token: str
    refresh_token: str
    expires_in_seconds: int


@dataclass(frozen=True, kw_only=True)
class Administrator:
    """The administrator that was just made, with a password nobody chose: to be shown once."""

    login: str
    password: str


def tokens_for(identity: Identity) -> Tokens:
    return Tokens(
        access_token=tokens.mint_access_token(identity.pk, identity.login),
        refresh_token=tokens.mint_refresh_token(identity.pk, identity.login),
        expires_in_seconds=int(settings.JWT_ACCESS_LIFETIME.total_seconds()),
    )


# --- Signing in -------------------------------------------------------------------------------------------------


def sign_in(login: str, password: str, *, address: str) -> Identity:
    """
    Return the identity with this login and password.

    Raises WrongCredentials alike for an unknown login, no password and a wrong one; TooManyFailures after ten of
    them from one address; IdentityFrozen.
    """
    count = throttle.key_for(login, address)
    throttle.check(count)
    identity = Identity.objects.filter(login=login).first()
    if not passwords.matches(identity.password_hash if identity else None, password) or identity is None:
        throttle.count(count)
        raise WrongCredentials
    throttle.check(count)  # many attempts at once must not get past the limit together
    if identity.frozen:
        raise IdentityFrozen
    throttle.clear(count)
    _remember_sign_in(identity, password)
    return identity


def sign_in_with_token(secret: str, *, address: str) -> Identity:
    """
    Return the identity of an integration token. There are none yet, so every secret is wrong.

    Raises WrongCredentials, TooManyFailures after ten of them from one address.
    """
    count = throttle.key_for("integration token", address)
    throttle.check(count)
    throttle.count(count)
    raise WrongCredentials("Invalid token")


def _remember_sign_in(identity: Identity, password: str) -> None:
    changes: dict[str, Any] = {"last_login_at": clock.now()}
    if passwords.is_outdated(identity.password_hash or ""):
        changes["password_hash"] = passwords.hashed(password)
    # Only these columns, and only if the password is still this one: a change at the same moment stays.
    Identity.objects.filter(pk=identity.pk, password_hash=identity.password_hash).update(**changes)
    for name, value in changes.items():
        setattr(identity, name, value)


def refresh(token: str) -> tuple[Identity, Tokens]:
    """Return new tokens for a refresh token. Raises WrongCredentials for any other text, IdentityFrozen."""
    try:
        claims = tokens.read(token)
    except tokens.ExpiredToken:
        raise WrongCredentials("Refresh token expired") from None
    except tokens.InvalidToken:
        raise WrongCredentials("Invalid refresh token") from None
    if claims.token_type != "refresh" or claims.scope == "integration_token":
        raise WrongCredentials("Invalid refresh token")
    identity = Identity.objects.filter(pk=claims.subject).first()
    if identity is None:
        raise WrongCredentials("Invalid refresh token")
    if identity.frozen:
        raise IdentityFrozen
    return identity, tokens_for(identity)


def require_self_registration() -> None:
    """Raise Forbidden unless the setting lets anybody register."""
    if not settings.ALLOW_SELF_REGISTRATION:
        raise Forbidden("Self-registration is switched off")


def register(login: str, password: str, display_name: str | None = None) -> Identity:
    """Make an identity without rights. Raises Forbidden where the setting does not allow it, LoginTaken."""
    require_self_registration()
    return create_identity(login, password=password, display_name=display_name)


# --- Identities -------------------------------------------------------------------------------------------------


def create_identity(
    login: str,
    *,
    password: str | None = None,
    display_name: str | None = None,
    attributes: Mapping[str, Any] | None = None,
    permission_sets: Iterable[str] = (),
) -> Identity:
    """
    Store a new identity that holds these permission sets.

    Raises ValidationFailed for a login or password of a wrong length, LoginTaken, NotFound for a set nobody knows.
    """
    check_login(login)
    if password is not None:
        check_password(password)
    try:
        with transaction.atomic():
            identity = Identity.objects.create(
                login=login,
                display_name=display_name or None,
                attributes=dict(attributes or {}),
                password_hash=passwords.hashed(password) if password is not None else None,
            )
            give_sets(identity, permission_sets)
    except IntegrityError:
        raise LoginTaken(login) from None
    return identity


def check_login(login: str) -> None:
    """Raise ValidationFailed for a login that nobody may take."""
    if not 3 <= len(login) <= 255:
        raise ValidationFailed(details=[{"field": "login", "message": "A login has 3 to 255 characters."}])
    if login.startswith("sensor:") or login == SYSTEM_LOGIN:
        raise ValidationFailed(details=[{"field": "login", "message": f"'{login}' is kept for the product itself."}])


def check_password(password: str, field: str = "password") -> None:
    """Raise ValidationFailed for a password of a wrong length."""
    if not passwords.MINIMUM_LENGTH <= len(password) <= passwords.MAXIMUM_LENGTH:
        raise ValidationFailed(details=[{"field": field, "message": "A password has 8 to 128 characters."}])


def give_sets(identity: Identity, refs: Iterable[str]) -> None:
    """Let the identity hold these sets, too. Raises NotFound for one that does not exist."""
    for ref in refs:
        held = PermissionSet.objects.filter(ref=ref).first()
        if held is None:
            raise NotFound(f"Permission set '{ref}' not found; {_known_sets()}")
        PermissionAssignment.objects.get_or_create(identity=identity, permset=held)


def _known_sets() -> str:
    known = ", ".join(PermissionSet.objects.order_by("ref").values_list("ref", flat=True))
    return f"there are {known}" if known else "there are none before the core pack is loaded, at the first start"


def change_profile(identity: Identity, *, display_name: str | None) -> Identity:
    """Set the display name; a blank one clears it."""
    _require_local(identity)
    return identity.set(display_name=(display_name or "").strip() or None)


def change_password(identity: Identity, *, current: str, new: str, address: str) -> None:
    """
    Raises WrongCredentials when ``current`` is not the password, Forbidden for an identity of a directory.

    Wrong ones are counted with those of signing in: a stolen token must not be a way to guess on.
    """
    _require_local(identity)
    count = throttle.key_for(identity.login, address)
    throttle.check(count)
    if not passwords.matches(identity.password_hash, current):
        throttle.count(count)
        raise WrongCredentials("Current password is wrong")
    check_password(new, "new_password")
    identity.set(password_hash=passwords.hashed(new))


def set_password(identity: Identity, password: str) -> None:
    check_password(password)
    identity.set(password_hash=passwords.hashed(password))


def _require_local(identity: Identity) -> None:
    if identity.auth_provider != "local":
        raise Forbidden(f"The account is kept by {identity.auth_provider}; change it there")


# --- Permission sets and the first boot -------------------------------------------------------------------------


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
    held, _created = PermissionSet.objects.update_or_create(
        ref=ref,
        defaults={
            "label": label,
            "description": description,
            "grants": [dict(grant) for grant in grants],
            "pack": pack,
            "pack_ref": pack_ref,
        },
    )
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
