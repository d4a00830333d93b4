"""Clients of the API for tests: one per caller, JSON bodies, faults of the server as answers."""

from typing import Any

from rest_framework.test import APIClient

from apps.identity import tokens
from apps.identity.models import Identity
from tests.factories import make_admin


def anonymous() -> APIClient:
    """A client that sends no token."""
    return APIClient(raise_request_exception=False)


def bearing(token: str) -> APIClient:
    """A client that sends this token."""
    return APIClient(raise_request_exception=False, HTTP_AUTHORIZATION=f"Bearer {token}")


def signed_in(identity: Identity | None = None) -> APIClient:
    """A client with an access token of this identity, of a new administrator when none is named."""
    caller = identity or make_admin()
    return bearing(tokens.mint_access_token(caller.pk, caller.login))


def with_execution_token(execution: Any, *permission_set_refs: str, **changes: Any) -> APIClient:
    """A client with the token that the process of this execution would get."""
    claims = {
        "execution_id": execution.pk,
        "action_ref": execution.action_ref,
        "executor": execution.executor_id or 1,
        "permission_set_refs": permission_set_refs,
        "epoch": execution.epoch,
        **changes,
    }
    return bearing(tokens.mint_execution_token(**claims))
