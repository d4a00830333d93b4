"""What becomes of two payloads of one key, and which payloads belong together. Pure."""

import hashlib
from typing import Any

from django.utils.crypto import salted_hmac

from apps.core.expressions import NOTHING, member_of
from apps.core.expressions.values import write_json

_LONGEST_KEY = 500  # an index takes no text of any length


def merge_patch(target: Any, patch: Any) -> Any:
    """Return the target changed by a JSON Merge Patch (RFC 7396); neither is changed itself."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def group_key(shown: Any, path: str | None, real: Any = NOTHING) -> str:
    """
    Return the value at a dotted path as one text, the same for equal JSON; what is missing counts as null.

    ``real``: the payload with its secrets, where ``shown`` has markers. Secret values are told apart by a digest that
    nobody can look up.
    """
    text = _text_at(shown, path)
    if real is not NOTHING and (secret := _text_at(real, path)) != text:
        return f"secret:{salted_hmac('attune.queues.group', secret, algorithm='sha256').hexdigest()}"
    return text if len(text) <= _LONGEST_KEY else f"sha256:{hashlib.sha256(text.encode(errors='replace')).hexdigest()}"


def _text_at(payload: Any, path: str | None) -> str:
    value = payload if path is not None else None
    for name in path.split(".") if path is not None else ():
        value = member_of(value, name)
        if value is NOTHING:
            value = None
            break
    return "".join(write_json(value, normal=True))
