"""What is refused about identities whoever asks: to harm oneself or the product, and to become someone mightier (auth.md 2.5)."""

from collections.abc import Mapping
from copy import copy
from typing import Any

from apps.identity.callers import Caller
from apps.identity.denials import lacking
from apps.identity.errors import KeptByTheProduct, NotOneself
from apps.identity.grants import Grants, grants_of_identity, uncovered
from apps.identity.grants.matching import of_the_caller
from apps.identity.models import Identity

MANAGE = "permissions:manage"


def check_changeable(identity: Identity) -> None:
    """Raise KeptByTheProduct for the built-in identity."""
    if identity.is_built_in:
        raise KeptByTheProduct


def check_people(identity: Identity, what: str) -> None:
    """Raise KeptByTheProduct for what only those may have who sign in: not the built-in identity, no sensor."""
    check_changeable(identity)
    if identity.is_sensor:
        raise KeptByTheProduct(f"The identity of a sensor takes no {what}: its tokens say what it may")


def check_freezable(identity: Identity, *, by: Caller) -> None:
    """Raise KeptByTheProduct, NotOneself."""
    check_changeable(identity)
    if identity.pk == by.identity_id:
        raise NotOneself("You cannot freeze yourself; another administrator can")


def check_deletable(identity: Identity, *, by: Caller) -> None:
    """Raise KeptByTheProduct, NotOneself."""
    if identity.is_built_in:
        raise KeptByTheProduct("The built-in identity 'system' cannot be deleted")
    if identity.pk == by.identity_id:
        raise NotOneself("You cannot delete yourself; another administrator can")


def require_power_over(identity: Identity, *, by: Caller) -> None:
    """
    Raise Forbidden where ``by`` could act as an identity that holds more than it does.

    An execution token holds less than the identity it runs for, so that one is another for it.
    """
    if by.token_type == "access" and by.identity_id == identity.pk:
        return
    _require_covering(grants_of_identity(identity), by)


def check_attributes(identity: Identity, attributes: Mapping[str, Any], *, by: Caller) -> None:
    """Raise Forbidden where grants that ask for attributes would begin to hold and give more than ``by`` has."""
    changed = copy(identity)
    changed.attributes = dict(attributes)
    before, after = (Caller(holder=holder, token_type="access", login=holder.login) for holder in (identity, changed))
    gained = [
        grant
        for grant in grants_of_identity(identity).all
        if grant.broken is None and of_the_caller(grant, after) and not of_the_caller(grant, before)
    ]
    _require_covering(Grants(tuple(gained)), by)


def _require_covering(grants: Grants, by: Caller) -> None:
    if grants.all and not by.covers(MANAGE) and uncovered(by, grants):
        raise lacking(MANAGE)
