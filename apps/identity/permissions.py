"""The one permission class: it reads a view's classification and asks the caller (auth.md section 5)."""

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from apps.core.api.grants import Mode
from apps.core.errors import GateError
from apps.identity.callers import Caller
from apps.identity.denials import lacking, refused

USUAL = frozenset({"access", "execution"})


class ClassifiedPermission(BasePermission):
    """Admits what a view's ``grants`` say; a method the view does not have passes on to its 405."""

    def has_permission(self, request: Request, view: Any) -> bool:
        classification = view.classification()
        if classification is not None and classification.mode is Mode.PUBLIC:
            return True
        caller = request.auth
        if not isinstance(caller, Caller):
            raise GateError
        if caller.token_type not in view.token_types.get(view.operation, USUAL):
            raise refused(f"Not admitted here: a token of type {caller.token_type}")
        if classification is None or classification.mode is not Mode.REQUIRED:
            return True
        if not caller.allows(classification.grant):
            view.before_denial()
            raise lacking(classification.grant)
        return True
