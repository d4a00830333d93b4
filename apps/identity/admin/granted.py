"""Pages that ask the same grants as the API."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.http import HttpRequest

from apps.core.admin import ConsoleAdmin
from apps.identity.grants import Facts
from apps.identity.sessions import caller_at


class ByGrants(ConsoleAdmin):
    """``needs`` names the grant of each of view, add and change; what it does not name nobody may do here."""

    needs: ClassVar[Mapping[str, str]] = {}

    def subject(self, row: Any) -> object:
        """Return what the grants are asked about."""
        return row

    def may(self, request: HttpRequest, verb: str, row: Any = None) -> bool:
        grant = self.needs.get(verb)
        if grant is None or not self.may_enter(request):
            return False
        return caller_at(request).allows(grant, None if row is None else self.subject(row))

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "view")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, "view", obj)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, "add")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, "change", obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, "delete", obj)


class Unnamed(ByGrants):
    """Rows that grants cannot name one by one."""

    def subject(self, row: Any) -> object:
        return Facts()
