"""
Integration tokens: long-lived secrets that sign programs in (auth.md 2.5).

The secret is shown once, when the token is made; what is stored is its hash, with its two ends to know it by.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from apps.core import clock
from apps.core.deletions import delete_once
from apps.core.errors import BadRequest, ValidationFailed
from apps.identity import protection
from apps.identity.audit.administration import integration_token_changed
from apps.identity.callers import Caller
from apps.identity.models import Identity, IntegrationToken

MARK = "attune_it_"  # what every secret begins with
_RANDOM_BYTES = 32  # 43 characters
_SHOWN_FIRST, _SHOWN_LAST = 14, 4


@dataclass(frozen=True, kw_only=True)
class NewToken:
    """An integration token with its secret, which is kept nowhere: to be shown once."""

    token: IntegrationToken
    secret: str


def create(
    identity: Identity,
    *,
    label: str,
    description: str | None = None,
    expires_at: datetime | None = None,
    by: Caller,
) -> NewToken:
    """
    Make a token that signs in as the identity.

    Raises BadRequest for an end that is past, KeptByTheProduct, Forbidden where ``by`` would become someone mightier.
    """
    protection.check_people(identity, "integration token")
    protection.require_power_over(identity, by=by)
    if not label.strip():
        raise ValidationFailed(details=[{"field": "label", "message": "A label must not be blank."}])
    if expires_at is not None and expires_at <= clock.now():
        raise BadRequest("expires_at must be in the future")
    secret = MARK + secrets.token_urlsafe(_RANDOM_BYTES)
    token = IntegrationToken.objects.create(
        identity=identity,
        label=label,
        description=description,
        token_hash=hash_of(secret),
        token_prefix=secret[:_SHOWN_FIRST],
        token_suffix=secret[-_SHOWN_LAST:],
        created_by=by.holder,
        expires_at=expires_at,
    )
    integration_token_changed("created", token)
    return NewToken(token=token, secret=secret)


def revoke(token: IntegrationToken, *, reason: str | None = None, by: Caller) -> IntegrationToken:
    """End a token now; one that was revoked keeps when, by whom and why."""
    changed = IntegrationToken.objects.filter(pk=token.pk, revoked_at__isnull=True).update(
        revoked_at=clock.now(), revoked_by=by.holder, revocation_reason=reason
    )
    if changed:
        integration_token_changed("revoked", token, reason=reason)
    token.refresh_from_db()
    return token


@transaction.atomic
def delete(token: IntegrationToken) -> None:
    """Forget a token; what it signed in stays signed in until its access token ends."""
    integration_token_changed("deleted", token)
    delete_once(token)


def with_secret(secret: str) -> IntegrationToken | None:
    """Return the token of this secret with its identity, ended or not."""
    return _found(token_hash=hash_of(secret))


def with_id(token_id: int) -> IntegrationToken | None:
    """Return the token with its identity, ended or not."""
    return _found(pk=token_id)


def _found(**by: object) -> IntegrationToken | None:
    return IntegrationToken.objects.select_related("identity").filter(**by).first()


def used(token: IntegrationToken, *, address: str) -> bool:
    """Remember a use, now and from this address. Return False when the token has ended; it may have just now."""
    now = clock.now()
    live = IntegrationToken.objects.live(now).filter(pk=token.pk)
    return live.update(last_used_at=now, last_used_ip=address or None) > 0


def hash_of(secret: str) -> str:
    """Return what is stored of a secret; it is random enough to need no salt and no work."""
    return hashlib.sha256(secret.encode()).hexdigest()
