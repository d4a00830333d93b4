"""Integration tokens: made here with their secret shown once, looked at, revoked."""

from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.safestring import SafeString

from apps.core import clock, markup
from apps.core.admin import ConsoleAdmin, as_time, linked_filter, page_button
from apps.core.errors import AttuneError
from apps.identity import integration_tokens
from apps.identity.admin.forms import IntegrationTokenForm
from apps.identity.grants import narrowed
from apps.identity.models import IntegrationToken
from apps.identity.visibility import readable_tokens, visible_identities

MODEL = "identity_integrationtoken"
_SENTENCE = "It signs in no longer. What it signed in stays so until its access token ends, within the hour."


@admin.register(IntegrationToken)
class IntegrationTokenAdmin(ConsoleAdmin):
    needs = {"view": "identities:read", "add": "identities:update", "revoke": "identities:update"}
    visible = staticmethod(lambda caller, rows: narrowed(rows, readable_tokens(caller)))
    list_display = ("label", "who", "state", "ends_of_secret", as_time("last_used_at", "last used"), "last_used_ip",
                    as_time("expires_at", "expires"), as_time("created"))  # fmt: skip
    list_filter = (linked_filter("identity", "identity"),)
    list_defer = ("token_hash", "description", "revocation_reason")
    ordering = ("-created", "-id")
    sortable_by = ()
    search_fields = ("label", "identity__login__exact", "token_suffix__exact")
    search_help_text = "Label, login (whole), or the last four characters of the secret"
    actions = ("revoke_selected",)
    actions_detail = ("revoke",)
    fields = (
        "label", "who", "state", "description", "ends_of_secret", as_time("last_used_at", "last used"), "last_used_ip",
        as_time("expires_at", "expires"), as_time("revoked_at", "revoked"), "revoked_by", "revocation_reason",
        as_time("created"), "created_by",
    )  # fmt: skip

    def subject(self, row: IntegrationToken) -> object:
        return row.identity

    def get_queryset(self, request: HttpRequest) -> QuerySet[IntegrationToken]:
        rows: QuerySet[IntegrationToken] = super().get_queryset(request)
        return rows.select_related("identity", "created_by", "revoked_by")

    # --- Columns ------------------------------------------------------------------------------------------------

    @admin.display(description="identity")
    def who(self, token: IntegrationToken) -> SafeString:
        return markup.row_link("identity_identity", token.identity_id, token.identity.login)

    @admin.display(description="state")
    def state(self, token: IntegrationToken) -> SafeString:
        if token.is_live(clock.now()):
            return markup.badge("active")
        return markup.badge("revoked" if token.revoked_at else "expired", tone="plain")

    @admin.display(description="secret")
    def ends_of_secret(self, token: IntegrationToken) -> str:
        return f"{token.token_prefix}...{token.token_suffix}"

    # --- A new one ----------------------------------------------------------------------------------------------

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        self.guard(request, "add")
        seen = visible_identities(self.caller(request))
        given = request.POST if request.method == "POST" else None
        form = IntegrationTokenForm(given, identities=seen, initial={"login": request.GET.get("login", "")})
        if form.is_valid():
            try:
                return self._made(request, form)
            except AttuneError as error:
                form.add_error(None, error.message)
        back = reverse(f"admin:{MODEL}_changelist")
        return self.page(
            request, "admin/identity/integrationtoken/new.html", "New integration token", form=form, back=back
        )

    def _made(self, request: HttpRequest, form: IntegrationTokenForm) -> HttpResponse:
        """Return the one page that shows the secret."""
        given, caller = form.cleaned_data, self.caller(request)
        identity = given["login"]
        caller.require(self.needs["add"], identity)
        new = integration_tokens.create(
            identity,
            label=given["label"],
            description=given["description"] or None,
            expires_at=given["expires_at"],
            by=caller,
        )
        answer = self.page(
            request, "admin/identity/integrationtoken/secret.html", f"Secret of {new.token.label}",
            secret=new.secret, identity=identity, back=reverse(f"admin:{MODEL}_change", args=[new.token.pk]),
        )  # fmt: skip
        answer.headers["Cache-Control"] = "no-store"
        return answer

    # --- Its end ------------------------------------------------------------------------------------------------

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """The buttons of a token's page: what is revoked is not revoked again."""
        token = self._found(request, object_id)
        if token is None or token.revoked_at is not None or not self.may(request, "revoke", token):
            return []
        found: list[Any] = super().get_actions_detail(request, object_id)  # type: ignore[misc]  # the theme's
        return found

    def _found(self, request: HttpRequest, object_id: Any) -> IntegrationToken | None:
        number = int(object_id) if str(object_id).isdecimal() and len(str(object_id)) < 19 else 0
        return self.get_queryset(request).filter(pk=number).first()

    @page_button("Revoke", icon="block")
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        token = self._found(request, object_id)
        if token is None:
            return self.gone(request, object_id)
        return self.confirm(
            request, [token], title=f"Revoke {token.label}", sentence=_SENTENCE, button="Revoke",
            back=reverse(f"admin:{MODEL}_change", args=[token.pk]), verb=partial(self._revoke, request), done="is revoked",
        )  # fmt: skip

    @admin.action(description="Revoke")
    def revoke_selected(self, request: HttpRequest, rows: QuerySet[IntegrationToken]) -> HttpResponse:
        chosen = list(rows)
        title = f"Revoke {len(chosen)} token{'s' if len(chosen) != 1 else ''}"
        return self.confirm_selected(
            request, chosen, "revoke_selected", title=title, sentence=_SENTENCE, button="Revoke",
            verb=partial(self._revoke, request), done="is revoked",
        )  # fmt: skip

    def _revoke(self, request: HttpRequest, token: IntegrationToken, reason: str) -> IntegrationToken:
        self.require(request, "revoke", token)
        return integration_tokens.revoke(token, reason=reason or None, by=self.caller(request))
