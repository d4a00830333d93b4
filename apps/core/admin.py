"""
What the pages of every app's admin share: who may look, lists that stay fast, rows that only machines write.

An app's ``admin.py`` subclasses ``ConsoleAdmin`` (rows that people change) or ``MachineRows`` (rows that they only look
at, and whose verbs are admin actions that call a service).
"""

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import FieldDoesNotExist, ValidationError
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


class ConsoleAdmin(ModelAdmin):
    """A page of the console: who may enter may do everything here that the page offers."""

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

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.may_enter(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may_enter(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may_enter(request)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may_enter(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may_enter(request)

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
        return bool(self.admin_site.has_permission(request))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
