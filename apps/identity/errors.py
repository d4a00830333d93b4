"""What a caller is told about identities."""

from apps.core.errors import BadRequest, ConflictError, Forbidden, TooManyRequests, Unauthorized


class WrongCredentials(Unauthorized):
    """Invalid login or password"""


class InvalidSecret(WrongCredentials):
    """Invalid token"""


class IdentityFrozen(Forbidden):
    """Identity is frozen"""


class TooManyFailures(TooManyRequests):
    """Too many failed attempts; try again in a minute"""


class LoginTaken(ConflictError):
    """The login is taken"""

    def __init__(self, login: str) -> None:
        super().__init__(f"Identity with login '{login}' already exists")


class NotOneself(BadRequest):
    """Nobody takes the own access away"""


class KeptByTheProduct(BadRequest):
    """The built-in identity 'system' stays as it is"""
