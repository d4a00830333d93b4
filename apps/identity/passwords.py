"""Passwords as Argon2id PHC strings (auth.md section 3)."""

from functools import cache
from typing import Any

import argon2
from django.conf import settings

MINIMUM_LENGTH, MAXIMUM_LENGTH = 8, 128


@cache
def _hasher() -> argon2.PasswordHasher:
    """The library's defaults; a test run may name cheaper ones."""
    parameters: dict[str, Any] = settings.ARGON2_PARAMETERS
    return argon2.PasswordHasher(**parameters)


@cache
def _nobody() -> str:
    """A hash that no password has, to work on when there is none."""
    return _hasher().hash("nobody has this password")


def hashed(password: str) -> str:
    return _hasher().hash(password)


def matches(password_hash: str | None, password: str) -> bool:
    """Whether the password has this hash. Takes the same time when there is no hash at all."""
    try:
        _hasher().verify(password_hash or _nobody(), password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False
    return password_hash is not None


def is_outdated(password_hash: str) -> bool:
    """Whether the defaults have grown since the hash was made."""
    return _hasher().check_needs_rehash(password_hash)
