"""Give and take away: the permission sets of an identity, and its access as a whole."""

from collections.abc import Iterable

from django.db import transaction

from apps.core.errors import BadRequest, ConflictError, NotFound
from apps.identity.grants import holds_set
from apps.identity.models import ADMIN_SET_REF, SYSTEM_LOGIN, Identity, PermissionAssignment, PermissionSet


class NotOneself(BadRequest):
    """Nobody takes the own access away"""


class KeptByTheProduct(ConflictError):
    """The built-in identity 'system' stays as it is"""


def freeze(identity: Identity, *, by: Identity) -> None:
    """Take the access away: no sign-in, no tokens; what runs goes on. Raises NotOneself, KeptByTheProduct."""
    if identity.login == SYSTEM_LOGIN:
        raise KeptByTheProduct
    if identity.pk == by.pk:
        raise NotOneself("You cannot freeze yourself; another administrator can")
    identity.set(frozen=True)


def unfreeze(identity: Identity) -> None:
    identity.set(frozen=False)


def check_own(identity: Identity, refs: Iterable[str], *, by: Identity) -> None:
    """Raise NotOneself when ``by`` would lose ``core.admin`` by holding just these sets."""
    if identity.pk == by.pk and ADMIN_SET_REF not in set(refs) and holds_set(identity, ADMIN_SET_REF):
        raise NotOneself("You cannot take core.admin from yourself; another administrator can")


@transaction.atomic
def hold_exactly(identity: Identity, refs: Iterable[str], *, by: Identity) -> None:
    """
    Let the identity hold these permission sets and no others.

    Raises NotFound for a set that does not exist, NotOneself when ``by`` would lose ``core.admin``.
    """
    wanted = set(refs)
    sets = {held.ref: held for held in PermissionSet.objects.filter(ref__in=wanted)}
    if missing := sorted(wanted - sets.keys()):
        raise NotFound(f"Permission sets do not exist: {', '.join(missing)}")
    check_own(identity, wanted, by=by)
    held = {row.permset.ref: row for row in identity.assignments.select_related("permset")}
    for ref in held.keys() - wanted:
        held[ref].delete()
    PermissionAssignment.objects.bulk_create(
        [PermissionAssignment(identity=identity, permset=sets[ref]) for ref in sorted(wanted - held.keys())]
    )
