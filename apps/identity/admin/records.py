"""What the product itself keeps for a while: answers to repeated requests, failed attempts to sign in."""

from django.contrib import admin

from apps.core.admin import MachineRows, as_time
from apps.identity.models import IdempotencyRecord, SignInFailures


@admin.register(IdempotencyRecord)
class IdempotencyRecordAdmin(MachineRows):
    needs = {"view": "audit_log:read"}
    list_display = ("key", "scope", "response_status", "resource_type", "resource_id", as_time("created"),
                    as_time("expires_at", "expires"))  # fmt: skip
    hidden_fields = ("response_body", "request_hash")  # an answer may hold what only its caller may see
    list_defer = hidden_fields
    ordering = ("-id",)
    search_fields = ("key__exact",)
    search_help_text = "The whole key"


@admin.register(SignInFailures)
class SignInFailuresAdmin(MachineRows):
    needs = {"view": "identities:read"}
    list_display = ("short_key", "failures", as_time("since"))
    ordering = ("-since",)

    @admin.display(description="login and address (hashed)")
    def short_key(self, row: SignInFailures) -> str:
        return row.key[:16]
