"""Changing and showing a ``webhook_config``: section by section, secrets written and never shown."""

from collections.abc import Mapping
from typing import Any

from apps.core.errors import Detail, ValidationFailed
from apps.events.webhooks import config as configs
from apps.events.webhooks import secrets, signatures

# What is shown of a config, and in which order; anything else in the column counts for nothing.
SECTIONS: dict[str, tuple[str, ...]] = {
    "payload_size_limit_kb": (),
    "ip_whitelist": ("enabled", "ips"),
    "rate_limit": ("enabled", "requests", "window_seconds"),
    "hmac": (
        "enabled", "secret", "secret_key_ref", "algorithm", "header", "previous_secret", "previous_secret_expires_at",
    ),
    "preset": (),
    "raw": ("enabled", "plain_url"),
    "replay": ("enabled", "timestamp_header", "window_seconds"),
    "idempotency": ("header", "path"),
}  # fmt: skip


def edited(config: object, changes: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the config with the changed sections: None removes one, absent ones stay, secrets sent as the marker stay.

    The config given and the one returned hold the secrets themselves.

    Raises ValidationFailed when signatures are to be checked and nothing is there to check them with.
    """
    before = dict(config) if isinstance(config, Mapping) else {}
    after = dict(before)
    for name, value in changes.items():
        if value is None:
            after.pop(name, None)
        else:
            after[name] = _with_secrets(name, value, before.get(name)) if isinstance(value, Mapping) else value
    if not changes.keys().isdisjoint({"hmac", "preset"}):
        _check_signing(configs.read(after).signing)
    return after


def shown(column: object) -> dict[str, Any]:
    """Return the config as clients see it."""
    config = column if isinstance(column, Mapping) else {}
    return {
        name: _shown_section(name, config[name])
        for name, fields in SECTIONS.items()
        if isinstance(config.get(name), Mapping if fields else (int, float, str))
    }


def _shown_section(name: str, section: Any) -> Any:
    if not isinstance(section, Mapping):
        return section
    return {
        key: secrets.hidden(section[key]) if (name, key) in secrets.PLACES else section[key]
        for key in SECTIONS[name]
        if key in section
    }


def _with_secrets(name: str, section: Mapping[str, Any], before: object) -> dict[str, Any]:
    """Return the section with the secrets themselves where markers stand for them."""
    after = dict(section)
    kept = before if isinstance(before, Mapping) else {}
    for place, key in secrets.PLACES:
        if place != name or key not in after:
            continue
        if not secrets.is_marker(after[key]):
            continue
        if secrets.revealed(kept.get(key)) is not None:
            after[key] = kept[key]
        else:
            raise _wrong(f"{name}.{key}", "There is no stored value that this could stand for.")
    return after


def _check_signing(signing: configs.Signing | None) -> None:
    if signing is None or signing.secret_key_ref is not None:
        return
    if signing.secret is None:
        raise _wrong("hmac.secret", "The secret that signatures are checked with is missing.")
    standard = signing.preset == "standard" or (
        signing.preset == "gitlab" and signing.secret.startswith(signatures.STANDARD_SECRET)
    )
    if standard and signatures.key_of_standard_secret(signing.secret) is None:
        raise _wrong("hmac.secret", "Must be whsec_ followed by base64, as the sender shows it.")


def _wrong(path: str, message: str) -> ValidationFailed:
    return ValidationFailed(details=[Detail(field=f"webhook_config.{path}", message=message)])
