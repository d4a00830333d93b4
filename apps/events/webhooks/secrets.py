"""
The secrets of a ``webhook_config``: the one place where they are kept, read and hidden.

The column holds a marker for each; the values are kept encrypted apart. A plain secret that somebody wrote into the
column counts as well, and is put away with the next change.
"""

import logging
from collections.abc import Mapping
from typing import Any

from apps.core import markers
from apps.core.cipher import CannotDecrypt
from apps.events.models import Trigger
from apps.keys import secret_store
from apps.keys.services import live_keys, plain_value

logger = logging.getLogger(__name__)

# Where a config has secrets: (section, field).
PLACES = (("hmac", "secret"), ("hmac", "previous_secret"))
KEY_REF = "secret_key_ref"  # of the section hmac: the Key whose value is the secret
MARKER = markers.MARKER
is_marker = markers.is_marker


def config_of(trigger: Trigger) -> Any:
    """
    Return the config with the secrets that its senders sign with.

    One that cannot be had (its encryption key or its Key is gone) is left out, so that nobody is let in.
    """
    config = kept_config(trigger)
    hmac = config.get("hmac") if isinstance(config, Mapping) else None
    if not isinstance(hmac, Mapping) or not isinstance(ref := hmac.get(KEY_REF), str):
        return config
    return {**config, "hmac": {**hmac, "secret": _value_of_key(ref, trigger)}}


def kept_config(trigger: Trigger) -> Any:
    """Return the config with the secrets that were given for it; markers stay where one cannot be had."""
    config = trigger.webhook_config
    if not markers.holds_marker(config):
        return config
    try:
        return markers.restored(config, secret_store.get(secret_store.WEBHOOK_CONFIG, trigger.pk))
    except CannotDecrypt as error:
        logger.error("The webhook secret of %s cannot be decrypted. %s", trigger.ref, error)
        return config


def keep(trigger: Trigger, config: Mapping[str, Any]) -> Trigger:
    """Store the config of a trigger, its secrets apart; call in a transaction."""
    column, values = markers.marked(config, PLACES)
    unread = [
        markers.pointer((section, field))
        for section, field in PLACES
        if isinstance(config.get(section), Mapping) and is_marker(config[section].get(field))
    ]
    secret_store.replace(secret_store.WEBHOOK_CONFIG, trigger.pk, values, staying=unread, source_ref=trigger.ref)
    return trigger.set(webhook_config=column)


def revealed(value: object) -> str | None:
    """Return a secret, None for what is none that could be used."""
    return value if isinstance(value, str) and value else None


def hidden(value: object) -> Any:
    """Return what a client is shown in place of a secret: the marker, or None where there is none."""
    return dict(MARKER) if value is not None else None


def _value_of_key(ref: str, trigger: Trigger) -> str | None:
    key = live_keys().filter(ref=ref).first()
    if key is None:
        logger.warning("The webhook of %s takes its secret from key '%s', which does not exist", trigger.ref, ref)
        return None
    try:
        return revealed(plain_value(key))
    except CannotDecrypt as error:
        logger.error("Key '%s', the webhook secret of %s, cannot be decrypted. %s", ref, trigger.ref, error)
        return None
