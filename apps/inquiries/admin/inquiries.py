"""The list of inquiries, the page of one, and the form on it."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Case, IntegerField, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.core import markup
from apps.core.admin import CreatedFilter, MachineRows, as_badge, as_time, linked_filter
from apps.core.errors import AttuneError
from apps.core.row_verbs import RowsWithVerbs, RowVerb
from apps.identity.grants import narrowed
from apps.identity.sessions import caller_at
from apps.inquiries import services
from apps.inquiries.admin.answer import AnswerForm
from apps.inquiries.models import Inquiry, InquiryStatus
from apps.inquiries.rights import may_respond
from apps.inquiries.visibility import answerable, readable

MODEL = "inquiries_inquiry"
LONGEST_SHOWN_PROMPT = 120

_PENDING_FIRST = Case(When(status=InquiryStatus.PENDING, then=Value(0)), default=Value(1), output_field=IntegerField())


class WaitingFilter(admin.SimpleListFilter):
    """Those that the reader may answer now."""

    title = "waiting for"
    parameter_name = "for"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("me", "me")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Inquiry]) -> QuerySet[Inquiry]:
        if self.value() != "me":
            return queryset
        return queryset.filter(pk__in=answerable(caller_at(request)).order_by().values("pk"))


VERBS = {
    "cancel": RowVerb(
        label="Cancel",
        done="is cancelled",
        asks="Nobody can answer it any more; the task that waits for the answer is cancelled with it.",
        danger=True,
        offered=lambda inquiry: inquiry.status == InquiryStatus.PENDING,
        call=lambda inquiry, request: services.cancel_inquiry(inquiry.pk, caller=caller_at(request)),
    )
}


@admin.register(Inquiry)
class InquiryAdmin(RowsWithVerbs, MachineRows):
    needs = {"view": "inquiries:read", "answer": "inquiries:respond", "cancel": "inquiries:update"}
    visible = staticmethod(lambda caller, rows: narrowed(rows, readable(caller)))
    open_to_all = True  # filtered: what is assigned to oneself everybody sees
    verbs = VERBS
    page_template = "admin/inquiries/inquiry/page.html"
    list_display = ("question", as_badge("status"), "of_execution", "for_whom", as_time("timeout_at", "deadline"), as_time("created"))  # fmt: skip
    list_display_links = None  # the first column holds the links
    list_filter = ("status", WaitingFilter, CreatedFilter, linked_filter("execution", "execution"), linked_filter("assigned_to", "identity"))  # fmt: skip
    list_select_related = ("assigned_to",)
    list_defer = ("response_schema", "response")
    ordering = (_PENDING_FIRST, "-created", "-id")

    @admin.display(description="question")
    def question(self, inquiry: Inquiry) -> SafeString:
        return format_html(
            '<a class="at-strong" href="{}">{}</a> <span class="at-muted at-number">#{}</span>',
            markup.page_of(MODEL, inquiry.pk), markup.cut(inquiry.prompt, LONGEST_SHOWN_PROMPT), inquiry.pk,
        )  # fmt: skip

    @admin.display(description="asked by")
    def of_execution(self, inquiry: Inquiry) -> SafeString:
        return markup.row_link("executions_execution", inquiry.execution_id, f"#{inquiry.execution_id}")

    @admin.display(description="for")
    def for_whom(self, inquiry: Inquiry) -> SafeString | str:
        if inquiry.assigned_to is None:
            return "whoever may respond"
        return markup.row_link("identity_identity", inquiry.assigned_to_id, inquiry.assigned_to)

    def may(self, request: HttpRequest, what: str, row: Any = None) -> bool:
        """What is assigned to oneself one answers without a grant, and nobody else with one."""
        if what == "answer" and row is not None:
            return self.may_enter(request) and may_respond(self.caller(request), row)
        return super().may(request, what, row)

    # --- The page -----------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        answer = path("<int:pk>/answer/", self.admin_site.admin_view(self.answer_view), name=self._name("answer"))
        return [answer, *super().get_urls()]

    def find(self, pk: int) -> Inquiry | None:
        return Inquiry.objects.select_related("assigned_to", "responded_by").filter(pk=pk).first()

    def page_context(self, row: Inquiry, caller: Any) -> dict[str, Any]:
        is_open = row.status == InquiryStatus.PENDING and may_respond(caller, row)
        return {
            "status": markup.badge(row.status),
            "form": AnswerForm(inquiry=row) if is_open else None,
            "answer": markup.json_block(markup.without_secrets(row.response_schema, row.response)),
            "response_schema": markup.json_block(row.response_schema),
            "facts": [
                ("Asked by", self.of_execution(row)),
                ("For", self.for_whom(row)),
                ("Asked", markup.when(row.created)),
                ("Deadline", markup.when(row.timeout_at)),
                ("Answered", markup.when(row.responded_at)),
                ("Answered by", markup.row_link("identity_identity", row.responded_by_id, row.responded_by)),
            ],
        }

    def answer_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Take the answer; what is wrong with it is said on the page."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        inquiry = self.found(request, pk)
        if inquiry is None:
            return self.gone(request, pk)
        self.guard(request, "answer", inquiry)
        form = AnswerForm(request.POST, inquiry=inquiry)
        if form.is_valid() and self._respond(request, inquiry, form):
            return HttpResponseRedirect(self.address("change", pk))
        context = {**self.page_context(inquiry, self.caller(request)), "form": form}
        verbs = self.offered_verbs(request, inquiry)
        return self.page(
            request, self.page_template, str(inquiry), row=inquiry, original=inquiry, verbs=verbs, **context
        )

    def _respond(self, request: HttpRequest, inquiry: Inquiry, form: AnswerForm) -> bool:
        """Answer; False when the form says what is wrong."""
        try:
            services.respond(inquiry.pk, form.response, caller=self.caller(request))
        except AttuneError as error:
            if error.status == 422:
                form.add_error(None, error.message)
                return False
            self.message_user(request, error.message, messages.ERROR)
            return True
        self.message_user(request, f"{inquiry} is answered.", messages.SUCCESS)
        return True
