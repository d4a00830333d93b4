"""
Tokens of sensors (auth.md 2.6), and the identities ``sensor:<ref>`` behind them.

A supervisor in this process calls ``issue``; everybody else asks for one over HTTP.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from apps.identity import tokens
from apps.identity.callers import Caller
from apps.identity.denials import refused
from apps.identity.grants.facts import NOTHING_KNOWN
from apps.identity.models import SENSOR_PREFIX, Identity
from apps.identity.triggers import named_triggers

DEFAULT_SECONDS, LEAST_SECONDS, MOST_SECONDS = 86_400, 3_600, 259_200
_LONGEST_LOGIN = 255


@dataclass(frozen=True, kw_only=True)
class SensorToken:
    """What whoever asks for one gets."""

    identity_id: int
    sensor_ref: str
    token: str
    expires_at: datetime
    trigger_types: tuple[str, ...]


def issue(sensor_ref: str, trigger_types: Iterable[str], *, lifetime_seconds: int = DEFAULT_SECONDS) -> SensorToken:
    """Return a token for the sensor, good from now on; its identity is made on first use."""
    served = tuple(trigger_types)
    identity = sensor_identity(sensor_ref)
    token = tokens.mint_sensor_token(sensor_ref, served, lifetime_seconds, identity_id=identity.pk)
    return SensorToken(
        identity_id=identity.pk,
        sensor_ref=sensor_ref,
        token=token,
        expires_at=datetime.fromtimestamp(tokens.read(token).expires_at, UTC),
        trigger_types=served,
    )


def issue_for(
    caller: Caller, sensor_ref: str, trigger_types: Iterable[str], *, lifetime_seconds: int = DEFAULT_SECONDS
) -> SensorToken:
    """
    Return what ``issue`` does to a caller who may have it.

    Raises Forbidden for one who may not update each of these triggers, and for a sensor that asks for more than a
    successor of its own token.
    """
    served = tuple(dict.fromkeys(trigger_types))
    if caller.token_type == "sensor":
        _require_own(caller, sensor_ref, served)
    else:
        known = named_triggers(served)
        for ref in served:
            caller.require("triggers:update", known.get(ref, NOTHING_KNOWN))
    return issue(sensor_ref, served, lifetime_seconds=lifetime_seconds)


def _require_own(caller: Caller, sensor_ref: str, trigger_types: tuple[str, ...]) -> None:
    if sensor_ref != caller.login:
        raise refused("A sensor can renew only its own token")
    if caller.trigger_types and (more := sorted(set(trigger_types) - set(caller.trigger_types))):
        raise refused(f"The token does not serve these triggers: {', '.join(more)}")


def sensor_identity(sensor_ref: str) -> Identity:
    """Return the identity of the sensor; it has no password and no grants."""
    login = f"{SENSOR_PREFIX}{sensor_ref}"
    if len(login) > _LONGEST_LOGIN:  # a ref alone may be as long
        login = SENSOR_PREFIX + hashlib.sha256(sensor_ref.encode()).hexdigest()
    return Identity.objects.get_or_create(login=login)[0]
