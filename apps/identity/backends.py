"""The console's login page: the same identities, passwords and limits as ``/auth/login``."""

from typing import Any

from django.contrib.auth.backends import BaseBackend
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from apps.core.api.client import address_of
from apps.core.errors import AttuneError
from apps.identity import services
from apps.identity.models import Identity


class PasswordBackend(BaseBackend):
    """Signs a browser in; what it may do there its grants say."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **_other: Any
    ) -> Identity | None:
        if username is None or password is None:
            return None
        try:
            return services.sign_in(username, password, address=address_of(request) if request else "")
        except AttuneError as error:
            raise PermissionDenied(error.message) from None

    def get_user(self, user_id: int) -> Identity | None:
        return Identity.objects.filter(pk=user_id).first()

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        """Django's own permissions mean nothing here: pages ask the grants (``apps.core.admin``)."""
        return False
