"""The console's login page: the same identities, passwords and limits as ``/auth/login``."""

from typing import Any

from django.contrib.auth.backends import BaseBackend
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from apps.core.api.client import address_of
from apps.core.errors import AttuneError
from apps.identity import services
from apps.identity.models import ADMIN_SET_REF, Identity, PermissionAssignment


class PasswordBackend(BaseBackend):
    """Signs a browser in; who holds ``core.admin`` may use every page."""

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
        return (
            user_obj.is_active
            and PermissionAssignment.objects.filter(identity=user_obj.pk, permset__ref=ADMIN_SET_REF).exists()
        )
