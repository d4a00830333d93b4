"""
What a ref and a version may look like (model.md section 3), as validators for models and serializers.

A broken rule carries the code ``format``; the error handler answers 422 ``UNPROCESSABLE_ENTITY`` for it. Nothing is
trimmed and nothing is folded to lower case.
"""

import re
from collections.abc import Callable

import semver
from django.core.exceptions import ValidationError

FORMAT = "format"  # ValidationError code of everything below

_PACK = re.compile(r"[a-z][a-z0-9_-]+")
_COMPONENT = re.compile(r"[^.]+\.[^.]+")
_KEY = re.compile(r"[^.]+(\.[^.]+)*")
_QUEUE = re.compile(r"[^.]+(\.[^.]+)?")
_ANY = re.compile(r".+", re.DOTALL)
_MAX_LENGTH = 255


def _printable(ref: str) -> bool:
    """Whether the ref has no control character, white space, slash or backslash."""
    return ref.isprintable() and not any(character.isspace() or character in "/\\" for character in ref)


def _lower(ref: str, pattern: re.Pattern[str], rule: str) -> None:
    if not 1 <= len(ref) <= _MAX_LENGTH:
        raise ValidationError(f"A ref has 1 to {_MAX_LENGTH} characters.", code=FORMAT)
    if ref != ref.lower():
        raise ValidationError(f"Ref '{ref}' must be lower case.", code=FORMAT)
    if not _printable(ref):
        raise ValidationError("A ref holds no white space, control characters or slashes.", code=FORMAT)
    if not pattern.fullmatch(ref):
        raise ValidationError(f"Ref '{ref}' is not valid: {rule}.", code=FORMAT)


def validate_pack_ref(ref: str) -> None:
    """Raise ValidationError unless the ref may name a pack."""
    _lower(ref, _PACK, "a letter, then letters, digits, '_' or '-', at least two characters")


def validate_component_ref(ref: str) -> None:
    """Raise ValidationError unless the ref may name an action, trigger, sensor, rule, workflow or permission set."""
    _lower(ref, _COMPONENT, "it has the form 'pack.name', with exactly one dot")


def validate_runtime_ref(ref: str) -> None:
    """Raise ValidationError unless the ref may name a runtime."""
    _lower(ref, _ANY, "it must not be empty")


def validate_key_ref(ref: str) -> None:
    """Raise ValidationError unless the ref may name a key."""
    _lower(ref, _KEY, "it is one or more segments separated by dots")


def validate_queue_ref(ref: str) -> None:
    """Raise ValidationError unless the ref may name a work queue."""
    _lower(ref, _QUEUE, "it has the form 'name' or 'pack.name'")


def validate_policy_ref(ref: str) -> None:
    """Raise ValidationError unless the ref may name a policy."""
    _lower(ref, _ANY, "it must not be empty")


def validate_artifact_ref(ref: str) -> None:
    """Raise ValidationError unless the ref may name an artifact: any text that is not blank."""
    if not ref.strip() or len(ref) > _MAX_LENGTH:
        raise ValidationError(f"A ref has 1 to {_MAX_LENGTH} characters and is not blank.", code=FORMAT)
    if any(ord(character) < 32 or 127 <= ord(character) < 160 for character in ref):
        raise ValidationError("A ref holds no control characters.", code=FORMAT)


def validate_version(version: str) -> None:
    """Raise ValidationError unless the text is a strict semantic version, ``X.Y.Z[-pre][+build]``."""
    if not semver.Version.is_valid(version):
        raise ValidationError(f"Version '{version}' is not a semantic version (X.Y.Z).", code=FORMAT)


def ref_problem(validate: Callable[[str], None], ref: str) -> str | None:
    """Return what is wrong with the ref, or None."""
    try:
        validate(ref)
    except ValidationError as error:
        return str(error.message)
    return None
