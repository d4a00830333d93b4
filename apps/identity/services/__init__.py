"""What can be done with identities: sign in, make, change and delete them, their tokens, and the first boot."""

from apps.identity.services.first_boot import Administrator, ensure_administrator, store_permission_set
from apps.identity.services.identities import (
    change_password,
    change_profile,
    check_login,
    check_password,
    create_identity,
    delete_identity,
    give_roles,
    give_sets,
    register,
    require_self_registration,
    set_password,
    update_identity,
)
from apps.identity.services.signing_in import Tokens, refresh, sign_in, sign_in_with_token, tokens_for

__all__ = [
    "Administrator",
    "Tokens",
    "change_password",
    "change_profile",
    "check_login",
    "check_password",
    "create_identity",
    "delete_identity",
    "ensure_administrator",
    "give_roles",
    "give_sets",
    "refresh",
    "register",
    "require_self_registration",
    "set_password",
    "sign_in",
    "sign_in_with_token",
    "store_permission_set",
    "tokens_for",
    "update_identity",
]
