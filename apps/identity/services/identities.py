"""Make, change and delete identities."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import IntegrityError, transaction

from apps.core.deletions import delete_once
from apps.core.errors import Forbidden, NotFound, ValidationFailed
from apps.identity import passwords, protection, throttle
from apps.identity.audit import administration
from apps.identity.errors import LoginTaken, WrongCredentials
from apps.identity.models import (
    SENSOR_PREFIX,
    SYSTEM_LOGIN,
    Identity,
    IdentityRoleAssignment,
    PermissionAssignment,
    PermissionSet,
)

if TYPE_CHECKING:
    from apps.identity.callers import Caller

LONGEST_NAME = LONGEST_ROLE = 255


def require_self_registration() -> None:
    """Raise Forbidden unless the setting lets anybody register."""
    if not settings.ALLOW_SELF_REGISTRATION:
        raise Forbidden("Self-registration is switched off")


def register(login: str, password: str, display_name: str | None = None) -> Identity:
    """Make an identity without rights. Raises Forbidden where the setting does not allow it, LoginTaken."""
    require_self_registration()
    return create_identity(login, password=password, display_name=display_name)


def create_identity(
    login: str,
    *,
    password: str | None = None,
    display_name: str | None = None,
    attributes: Mapping[str, Any] | None = None,
    permission_sets: Iterable[str] = (),
    roles: Iterable[str] = (),
) -> Identity:
    """
    Store a new identity that holds these permission sets and has these roles.

    Raises ValidationFailed for a login, name, password or role of a wrong length, LoginTaken, NotFound for a set nobody
    knows.
    """
    check_login(login)
    if password is not None:
        check_password(password)
    password_hash = passwords.hashed(password) if password is not None else None
    try:
        with transaction.atomic():
            identity = Identity.objects.create(
                login=login,
                display_name=_name(display_name),
                attributes=dict(attributes or {}),
                password_hash=password_hash,
            )
            administration.identity_changed("created", identity)
            give_sets(identity, permission_sets)
            give_roles(identity, roles)
    except IntegrityError:
        raise LoginTaken(login) from None
    return identity


def check_login(login: str) -> None:
    """Raise ValidationFailed for a login that nobody may take."""
    if not 3 <= len(login) <= 255:
        raise ValidationFailed(details=[{"field": "login", "message": "A login has 3 to 255 characters."}])
    if login.startswith(SENSOR_PREFIX) or login == SYSTEM_LOGIN:
        raise ValidationFailed(details=[{"field": "login", "message": f"'{login}' is kept for the product itself."}])


def check_password(password: str, field: str = "password") -> None:
    """Raise ValidationFailed for a password of a wrong length."""
    if not passwords.MINIMUM_LENGTH <= len(password) <= passwords.MAXIMUM_LENGTH:
        raise ValidationFailed(details=[{"field": field, "message": "A password has 8 to 128 characters."}])


def _name(display_name: str | None) -> str | None:
    """Return the name without blanks around it, None for a blank one. Raises ValidationFailed for one too long."""
    if len(display_name or "") > LONGEST_NAME:
        raise ValidationFailed(details=[{"field": "display_name", "message": "A name has at most 255 characters."}])
    return (display_name or "").strip() or None


def update_identity(identity: Identity, changes: Mapping[str, Any], *, by: "Caller") -> Identity:
    """
    Change ``display_name`` (a blank one clears it), ``password``, ``attributes`` and ``frozen``, as far as they are named.

    Raises KeptByTheProduct, NotOneself, and Forbidden where ``by`` would become someone mightier.
    """
    protection.check_changeable(identity)
    columns: dict[str, Any] = {}
    if "display_name" in changes:
        columns["display_name"] = _name(changes["display_name"])
    if "password" in changes:
        check_password(changes["password"])
        protection.check_people(identity, "a password")
        _require_local(identity)
        protection.require_power_over(identity, by=by)
        columns["password_hash"] = passwords.hashed(changes["password"])
    if "attributes" in changes:
        protection.check_attributes(identity, changes["attributes"], by=by)
        columns["attributes"] = changes["attributes"]
    if "frozen" in changes:
        if changes["frozen"]:
            protection.check_freezable(identity, by=by)
        columns["frozen"] = changes["frozen"]
    if not columns:
        return identity
    identity.set(**columns)
    administration.identity_changed("updated", identity, changed=sorted(changes), frozen=identity.frozen)
    return identity


@transaction.atomic
def delete_identity(identity: Identity, *, by: "Caller") -> None:
    """
    Delete an identity with its rights and tokens; what it did stays, without its name.

    Raises NotOneself, KeptByTheProduct, NotFound when it is gone already; the database's refusal while a key belongs to it.
    """
    protection.check_deletable(identity, by=by)
    administration.identity_changed("deleted", identity)
    delete_once(identity)


def give_sets(identity: Identity, refs: Iterable[str]) -> None:
    """Let the identity hold these sets, too. Raises NotFound for one that does not exist."""
    for ref in refs:
        held = PermissionSet.objects.filter(ref=ref).first()
        if held is None:
            raise NotFound(f"Permission set '{ref}' not found; {_known_sets()}")
        _assignment, is_new = PermissionAssignment.objects.get_or_create(identity=identity, permset=held)
        if is_new:
            administration.assignment_changed(administration.GIVEN, identity, held)


def _known_sets() -> str:
    known = ", ".join(PermissionSet.objects.order_by("ref").values_list("ref", flat=True))
    return f"there are {known}" if known else "there are none before the core pack is loaded, at the first start"


def give_roles(identity: Identity, roles: Iterable[str]) -> None:
    """Let the identity have these roles, too. Raises ValidationFailed for one of a wrong length."""
    for role in roles:
        if not 1 <= len(role) <= LONGEST_ROLE:
            raise ValidationFailed(details=[{"field": "role", "message": "A role has 1 to 255 characters."}])
        _assignment, is_new = IdentityRoleAssignment.objects.get_or_create(identity=identity, role=role)
        if is_new:
            administration.role_changed(administration.GIVEN, identity, role)


# --- The own account --------------------------------------------------------------------------------------------


def change_profile(identity: Identity, *, display_name: str | None) -> Identity:
    """Set the display name; a blank one clears it."""
    _require_local(identity)
    identity.set(display_name=_name(display_name))
    administration.identity_changed("updated", identity, changed=["display_name"])
    return identity


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
    set_password(identity, new)


def set_password(identity: Identity, password: str) -> None:
    check_password(password)
    identity.set(password_hash=passwords.hashed(password))
    administration.identity_changed("updated", identity, changed=["password"])


def _require_local(identity: Identity) -> None:
    if identity.auth_provider != "local":
        raise Forbidden(f"The account is kept by {identity.auth_provider}; change it there")
