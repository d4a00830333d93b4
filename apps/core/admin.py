"""
What the pages of every app's admin share: who may look, lists that stay fast, rows that only machines write.

An app's ``admin.py`` subclasses ``ConsoleAdmin`` (rows that people change) or ``MachineRows`` (rows that they only look
at, and whose verbs are admin actions that call a service).
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import FieldDoesNotExist, PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db import models
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.text import capfirst
from unfold.decorators import action as unfold_action
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminExpandableTextareaWidget

from apps.core import markup
from apps.core.errors import AttuneError

if TYPE_CHECKING:  # the theme has no types; its classes stand in for these
    from django.contrib.admin import ModelAdmin, TabularInline
    from django.contrib.admin.views.main import ChangeList
else:
    from unfold.admin import ModelAdmin, TabularInline
    from unfold.views import ChangeList

COUNT_LIMIT = 10_000
SHOWN_CHOICES = 200  # of a filter: beyond that it is no help
_NO_ID = re.compile(r"-?[0-9]{19,31}|-?[0-9]{33,}")  # beyond any id; 32 digits may be a UUID
_Method = TypeVar("_Method", bound=Callable[..., Any])


class BoundedPaginator(Paginator):
    """A paginator that counts no further than ``COUNT_LIMIT`` rows, so that a list of millions opens at once."""

    template_name = "admin/pagination_bounded.html"

    @cached_property
    def seen(self) -> int:
        rows = self.object_list
        if isinstance(rows, QuerySet):
            return rows.order_by().values("pk")[: COUNT_LIMIT + 1].count()
        return len(rows)

    @cached_property
    def count(self) -> int:
        return min(self.seen, COUNT_LIMIT)

    @property
    def has_more_than_counted(self) -> bool:
        return self.seen > COUNT_LIMIT


class LeanChangeList(ChangeList):
    """A list that does not read the columns it does not show."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Model]:
        rows: QuerySet[Model] = super().get_queryset(request, exclude_parameters)
        return rows.defer(*getattr(self.model_admin, "list_defer", ()))

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.full_result_count = self.result_count  # counted once, and no further than it is of use
        self.result_list = list(self.result_list)
        if isinstance(self.model_admin, ConsoleAdmin):
            for row in self.result_list:
                row.seen_by = self.model_admin.caller(request)
            self.model_admin.prepare(self.result_list)


class LinkedFilter(admin.SimpleListFilter):
    """A filter that other pages link to; it shows itself only while it is in use."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, self.label(value))] if (value := request.GET.get(self.parameter_name or "")) else []

    def label(self, value: str) -> str:
        return value

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        if (value := self.value()) is None:
            return queryset
        if "\x00" in value or _NO_ID.fullmatch(value):
            return queryset.none()
        try:
            return queryset.filter(**{str(self.parameter_name): value})
        except (ValueError, ValidationError):  # not a number, not a UUID: nothing matches it
            return queryset.none()


def linked_filter(name: str, title: str) -> type[LinkedFilter]:
    """Return a LinkedFilter on the column ``name``."""
    return type(f"{name}_filter", (LinkedFilter,), {"parameter_name": name, "title": title})


class CreatedFilter(admin.SimpleListFilter):
    """Rows of the last hour, day or week."""

    title = "created"
    parameter_name = "since"
    HOURS = {"1h": ("Last hour", 1), "24h": ("Last 24 hours", 24), "7d": ("Last 7 days", 24 * 7)}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(key, label) for key, (label, _hours) in self.HOURS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        if self.value() not in self.HOURS:
            return queryset
        return queryset.filter(created__gte=timezone.now() - timedelta(hours=self.HOURS[str(self.value())][1]))


def _column(name: str, label: str, show: Callable[[Any], Any]) -> Any:  # the stubs only know names of columns
    @admin.display(description=label)
    def column(row: Model) -> Any:
        return show(getattr(row, name))

    column.__name__ = name
    return column


@cache  # Django compares the fields of a page by identity
def as_json(name: str, label: str = "") -> Any:
    """Return a read-only field of a page: the JSON in column ``name``, indented and coloured."""
    return _column(name, label or name.replace("_", " "), markup.json_block)


@cache
def as_time(name: str, label: str = "") -> Any:
    """Return a column: a moment, relative and exact."""
    return _column(name, label or name.removesuffix("_at").replace("_", " "), markup.when)


@cache
def as_text(name: str, label: str = "") -> Any:
    """Return a read-only field of a page: text as it is, line breaks kept."""
    return _column(name, label or name.replace("_", " "), markup.code_block)


@cache
def as_badge(name: str, label: str = "") -> Any:
    """Return a column: a status word in its colour."""
    return _column(name, label or name.replace("_", " "), markup.badge)


@cache
def as_flag(name: str, label: str = "") -> Any:
    """Return a column: "yes", or a dash; a no is nothing to be alarmed about."""
    return _column(name, label or name.replace("_", " "), lambda value: "yes" if value else markup.EMPTY)


@cache
def as_word(name: str, label: str = "") -> Any:
    """Return a column: one of the words of the wire, spelled as there."""
    return _column(name, label or name.replace("_", " "), lambda value: value or markup.EMPTY)


def page_button(description: str, *, icon: str, primary: bool = False) -> Callable[[_Method], _Method]:
    """Make a method a button at the top of a row's page (``actions_detail``)."""
    variant = ActionVariant.PRIMARY if primary else ActionVariant.DEFAULT
    decorator: Callable[[_Method], _Method] = unfold_action(description=description, icon=icon, variant=variant)
    return decorator


class ConfirmForm(forms.Form):
    """The question before a verb that cannot be taken back: an optional reason, kept with what was done."""

    reason = forms.CharField(
        required=False, max_length=500, widget=UnfoldAdminExpandableTextareaWidget(attrs={"rows": 1}),
        help_text="Optional. It is kept in the history.",
    )  # fmt: skip


class SeenRowsFilter(admin.RelatedFieldListFilter):
    """A filter by rows of another table: those that have a page which its reader may open."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> Any:
        page = model_admin.admin_site._registry.get(field.related_model)
        if page is None or not page.has_view_permission(request):
            return []
        return [(row.pk, str(row)) for row in page.get_queryset(request)[:SHOWN_CHOICES]]


class ConsoleAdmin(ModelAdmin):
    """
    Pages of the console; each page and each button asks the same grants as the API.

    An app says which, and which of the rows may be read::

        needs = {"view": "rules:read", "add": "rules:create", "disable": "rules:update"}
        visible = staticmethod(lambda caller, rows: narrowed(rows, condition(caller, "rules:read", COLUMNS)))

    What ``needs`` does not name nobody may do here. Rows without ``visible`` are for those who may read all of them.
    """

    needs: ClassVar[Mapping[str, str]] = {}
    # (caller, rows) -> those that the caller may read.
    visible: ClassVar[Callable[..., Any] | None] = None
    # Whether some of the rows may be read without a grant: the list is open then, and filtered.
    open_to_all: ClassVar[bool] = False

    list_defer: ClassVar[tuple[str, ...]] = ()
    list_per_page = 50
    list_disable_select_all = True  # "all of a million rows" is a job for the API's bulk verbs
    list_fullwidth = True
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = BoundedPaginator
    compressed_fields = True

    def prepare(self, rows: Sequence[Any]) -> None:
        """Read for all rows of a list at once what its columns show beside the row itself."""

    def may_enter(self, request: HttpRequest) -> bool:
        return bool(self.admin_site.has_permission(request))

    def caller(self, request: HttpRequest) -> Any:
        """Return who sits at the browser, as the API knows callers; grants are read once for each request."""
        return self.admin_site.caller(request)  # type: ignore[attr-defined]  # the console's own site

    def may(self, request: HttpRequest, what: str, row: Any = None) -> bool:
        """Whether this may be done: with some row at all, or with the one that is given."""
        grant = self.needs.get(what)
        if grant is None or not self.may_enter(request):
            return False
        caller = self.caller(request)
        if row is None:
            return bool(caller.allows(grant) if self.visible is not None else caller.covers(grant))
        return bool(caller.allows(grant, self.subject(row)))

    def subject(self, row: Any) -> Any:
        """Return the object on which the grant is asked for; the row itself unless a page says otherwise."""
        return row

    def require(self, request: HttpRequest, what: str, row: Any) -> None:
        """Raise Forbidden unless this may be done with the row."""
        if not self.may(request, what, row):
            self.caller(request).require(self.needs[what], self.subject(row))

    def guard(self, request: HttpRequest, what: str, row: Any = None) -> None:
        """Raise PermissionDenied, which is a page that says so, unless this may be done."""
        if not self.may(request, what, row):
            raise PermissionDenied(f"Insufficient permissions: {self.needs.get(what, what)}")

    def readable(self, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return those of the rows that may be read here."""
        visible = type(self).visible
        return rows if visible is None else visible(self.caller(request), rows)

    def seen(self, request: HttpRequest, row: Any) -> Any:
        """Return the row, None where there is none or it may not be read: to the reader both are the same."""
        if row is None or not self.has_view_permission(request, row):
            return None
        return row

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        return self.readable(request, rows)

    def get_list_filter(self, request: HttpRequest) -> Any:
        return [
            (name, SeenRowsFilter) if isinstance(name, str) and self._is_relation(name) else name
            for name in super().get_list_filter(request)
        ]

    def _is_relation(self, name: str) -> bool:
        return bool(self.opts.get_field(name).is_relation)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Return the row of a page; ``seen_by`` says to its columns whom they are shown to, as in lists."""
        row: Any = super().get_object(request, object_id, from_field)
        if row is not None:
            row.seen_by = self.caller(request)
        return row

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if not self.may_enter(request):
            return False
        if obj is None:
            return self.open_to_all or self.may(request, "view")
        if type(self).visible is None:
            return self.may(request, "view")
        return self.readable(request, self.model._default_manager.filter(pk=obj.pk)).exists()

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, "change", obj)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, "add")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, "delete", obj)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """The verbs of the list that may be done with some row; each row is asked for when it is done."""
        found: dict[str, Any] = super().get_actions(request)
        return {name: entry for name, entry in found.items() if self.may(request, self._verb_of(name))}

    def _verb_of(self, action: str) -> str:
        """Return what ``needs`` calls an action of the list."""
        name = action.removesuffix("_selected").replace("_", "-")
        return name if name in self.needs or name == "delete" else "change"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return LeanChangeList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        title = capfirst(str(self.opts.verbose_name_plural))
        answer: HttpResponse = super().changelist_view(request, {"title": title, **(extra_context or {})})
        return answer

    def page(self, request: HttpRequest, template: str, title: str, **context: Any) -> TemplateResponse:
        """Return a page of our own inside the console's frame."""
        request.current_app = self.admin_site.name
        frame = {**self.admin_site.each_context(request), "opts": self.opts, "title": title, **context}
        return TemplateResponse(request, template, frame)

    def gone(self, request: HttpRequest, pk: Any) -> HttpResponse:
        """Say that there is no such row, on its list."""
        self.message_user(request, f"There is no {self.opts.verbose_name} {pk} any more.", messages.WARNING)
        return HttpResponseRedirect(reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist"))

    def attempt(self, request: HttpRequest, verb: Callable[[], Any], done: str) -> Any:
        """Call a service and tell the operator how it went; return what it returned, None when it refused."""
        try:
            answer = verb()
        except AttuneError as error:
            self.message_user(request, error.message, messages.ERROR)
            return None
        self.message_user(request, done, messages.SUCCESS)
        return answer

    def confirm(
        self,
        request: HttpRequest,
        rows: Sequence[Model],
        *,
        title: str,
        sentence: str,
        button: str,
        back: str,
        verb: Callable[[Any, str], Any],
        danger: bool = True,
        hidden: dict[str, Any] | None = None,
        then: Callable[[Any], str] | None = None,
        with_reason: bool = True,
        done: str = "",
    ) -> HttpResponse:
        """
        Ask before ``verb(row, reason)`` is called for each row, then do it and go back.

        ``hidden`` are the fields by which Django finds a list's action again when the answer comes; ``then`` names the
        page to go to from what the verb returned. Without a reason only the question is asked.
        ``done``: the end of the sentence "<row> ..." that is said afterwards.
        """
        form = (ConfirmForm if with_reason else forms.Form)(request.POST if "confirmed" in request.POST else None)
        if form.is_valid():
            answers = [
                self.attempt(
                    request,
                    partial(verb, row, form.cleaned_data.get("reason", "")),
                    f"{row} {done}" if done else f"{button}: {row}" if len(rows) > 1 else f"{title}: done",
                )
                for row in rows
            ]
            url = then(answers[0]) if then is not None and answers and answers[0] is not None else back
            return HttpResponseRedirect(url)
        return self.page(
            request, "admin/confirm.html", title,
            rows=rows, sentence=sentence, button=button, back=back, danger=danger, form=form, hidden=hidden or {},
        )  # fmt: skip

    def confirm_selected(
        self, request: HttpRequest, rows: Iterable[Model], action: str, **question: Any
    ) -> HttpResponse:
        """Like ``confirm``, for an action of the list."""
        chosen = list(rows)
        hidden = {"action": action, ACTION_CHECKBOX_NAME: [row.pk for row in chosen]}
        return self.confirm(request, chosen, back=request.get_full_path(), hidden=hidden, **question)


def _shown(field: Any) -> Any:
    """Return how a column is shown where an admin only names it."""
    match field:
        case models.JSONField():
            return as_json(field.name, str(field.verbose_name))
        case models.DateTimeField():
            return as_time(field.name)
        case models.BooleanField():
            return as_flag(field.name, str(field.verbose_name))
        case _ if getattr(field, "choices", None):
            return as_word(field.name, str(field.verbose_name))
        case _:
            return field.name


class MachineRows(ConsoleAdmin):
    """Rows that only the product writes: looked at here, never edited, added or deleted."""

    hidden_fields: ClassVar[tuple[str, ...]] = ()  # columns no page shows
    sortable_by: ClassVar[tuple[str, ...]] = ()  # a column without its own index must not sort a million rows

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def _shown(self, name: Any) -> Any:
        try:
            return _shown(self.opts.get_field(name)) if isinstance(name, str) else name
        except FieldDoesNotExist:
            return name  # a method

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        return [self._shown(name) for name in super().get_list_display(request)]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        columns = [field for field in self.opts.fields if field.name not in self.hidden_fields]
        return list(self.fields or [field.name for field in columns if not isinstance(field, models.BinaryField)])

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return [
            (heading, {**options, "fields": [self._shown(name) for name in options["fields"]]})
            for heading, options in super().get_fieldsets(request, obj)
        ]


class ReadOnlyInline(TabularInline):
    """Rows of another table under the row they belong to."""

    extra = 0
    can_delete = False
    show_change_link = True
    hide_title = True

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(self.admin_site.has_permission(request))  # whoever sees the row that these belong to

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
