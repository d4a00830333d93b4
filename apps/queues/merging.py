"""What becomes of two payloads of one key, and which payloads belong together. Pure."""

import hashlib
import json
from typing import Any

from apps.core.expressions import NOTHING, member_of

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


def group_key(payload: Any, path: str | None) -> str:
    """Return the value at a dotted path as one text, equal for equal JSON; what is missing counts as null."""
    value = payload if path is not None else None
    for name in path.split(".") if path is not None else ():
        value = member_of(value, name)
        if value is NOTHING:
            value = None
            break
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text if len(text) <= _LONGEST_KEY else f"sha256:{hashlib.sha256(text.encode(errors='replace')).hexdigest()}"
