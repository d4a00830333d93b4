"""
The groups of a policy: one for each combination of the values of its ``parameters``. Pure.

The key of a group is the canonical JSON of {name: value}; that of a policy without parameters is ``{}``. A parameter
that is missing has the value null. Secret values are told apart by a digest that nobody can look up, long ones by
their hash; 1 and 1.0 are one value, 1 and "1" and true are three.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from django.utils.crypto import salted_hmac

from apps.core.markers import MARKER

_LONGEST_VALUE = 200  # characters of its JSON; a longer value is told by its beginning and its hash
_LONGEST_SHOWN = 100
_LONGEST_STORED = 1000  # bytes; an index of PostgreSQL takes 2,700
_SECRET, _LONG = "$secret", "$long"


def group_key(names: Collection[str], values: Mapping[str, Any], secret_names: Collection[str] = ()) -> str:
    """Return the key of the group in which an execution with these parameters is."""
    return _json({name: _told(values.get(name), secret=name in secret_names) for name in sorted(set(names))})


def names_in(key: str) -> list[str]:
    """Return the names of the parameters of a key, sorted."""
    return sorted(json.loads(key))


def shown_key(key: str) -> dict[str, Any]:
    """Return a key as people see it: {name: value}, the marker for a secret, a long value cut."""
    return {name: _shown(value) for name, value in json.loads(key).items()}


def stored_key(key: str) -> str:
    """Return a key as an indexed column takes it."""
    data = key.encode(errors="replace")
    return key if len(data) <= _LONGEST_STORED else f"sha256:{hashlib.sha256(data).hexdigest()}"


def _told(value: Any, *, secret: bool) -> Any:
    text = _json(_plain(value))
    if secret and value is not None:
        return {_SECRET: salted_hmac("attune.policies.group", text, algorithm="sha256").hexdigest()}
    if len(text) > _LONGEST_VALUE:
        digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()
        return {_LONG: text[:_LONGEST_SHOWN], "sha256": digest}
    return json.loads(text)


def _shown(value: Any) -> Any:
    if isinstance(value, dict) and _SECRET in value:
        return dict(MARKER)
    if isinstance(value, dict) and _LONG in value:
        return f"{value[_LONG]}… ({value['sha256'][:12]})"
    return value


def _plain(value: Any) -> Any:
    """Return the value with whole numbers written as such: databases and languages differ in how they keep 1.0."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
