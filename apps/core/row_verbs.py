"""What an operator can do with a row of the console: one table of verbs for its page and for the list's actions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse

from apps.core.admin import ConsoleAdmin


def _always(_row: Any) -> bool:
    return True


@dataclass(frozen=True, kw_only=True)
class RowVerb:
    """
    ``call(row, request)`` calls a service; ``done`` is the end of the sentence "<row> ...".

    ``asks``: a sentence that is shown before it is done, "" does it at once. ``offered`` says whether a row's page
    shows it; whether it can be done is the service's to say.
    """

    label: str
    done: str
    call: Callable[[Any, HttpRequest], Any]
    offered: Callable[[Any], bool] = _always
    asks: str = ""
    danger: bool = False
    in_list: bool = True


class RowsWithVerbs(ConsoleAdmin):
    """Rows with pages of their own (``page_context``) and verbs."""

    verbs: ClassVar[Mapping[str, RowVerb]] = {}
    page_template: ClassVar[str]

    def find(self, pk: int) -> Any:
        """Return the row for its page, None when there is none."""
        return self.model._default_manager.filter(pk=pk).first()

    def found(self, request: HttpRequest, pk: int) -> Any:
        """Return the row for its page, None when there is none that may be seen."""
        return self.seen(request, self.find(pk))

    def page_context(self, row: Any, caller: Any) -> dict[str, Any]:
        """Return what the template of a row's page needs besides ``row`` and ``verbs``, as far as the caller may see it."""
        raise NotImplementedError

    # --- Pages --------------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        protect = self.admin_site.admin_view
        own = [
            path(f"<int:pk>/{name}/", protect(partial(self.verb_view, name=name)), name=self._name(name))
            for name in self.verbs
        ]
        return [*own, *super().get_urls()]

    def address(self, page: str, *args: Any) -> str:
        """Return the path of one of this model's pages."""
        return reverse(f"admin:{self._name(page)}", args=args)

    def _name(self, page: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{page}"

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The page of one row; there is nothing to save on it."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponse(status=403)
        row = self.found(request, int(object_id)) if object_id.isdecimal() and len(object_id) < 19 else None
        if row is None:
            return self.gone(request, object_id)
        context = {"row": row, "original": row, "verbs": self.offered_verbs(request, row),
                   **self.page_context(row, self.caller(request))}  # fmt: skip
        return self.page(request, self.page_template, str(row), **context)

    def offered_verbs(self, request: HttpRequest, row: Any) -> list[dict[str, Any]]:
        return [
            {"label": verb.label, "url": self.address(name, row.pk), "at_once": not verb.asks, "danger": verb.danger}
            for name, verb in self.verbs.items()
            if verb.offered(row) and self.may(request, name, row)
        ]

    def verb_view(self, request: HttpRequest, pk: int, name: str) -> HttpResponse:
        verb, row = self.verbs[name], self.found(request, pk)
        if row is None:
            return self.gone(request, pk)
        self.guard(request, name, row)
        back = self.address("change", pk)
        if not verb.asks and request.method == "POST":
            self._do(request, name, row)
            return HttpResponseRedirect(back)
        return self.confirm(
            request, [row], title=f"{verb.label}: {row}", sentence=verb.asks or f"{verb.label}?", button=verb.label,
            danger=verb.danger, back=back, verb=lambda row, _reason: self._call(request, name, row), with_reason=False, done=verb.done,
            then=lambda _answer: self.after_verb(name, pk),
        )  # fmt: skip

    def after_verb(self, name: str, pk: int) -> str:
        """Return the page to go to after a verb was done."""
        return self.address("change", pk)

    def _do(self, request: HttpRequest, name: str, row: Model) -> None:
        self.attempt(request, partial(self._call, request, name, row), f"{row} {self.verbs[name].done}")

    def _call(self, request: HttpRequest, name: str, row: Model) -> Any:
        self.require(request, name, row)
        return self.verbs[name].call(row, request)

    # --- Actions of the list ------------------------------------------------------------------------------------

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        found: dict[str, Any] = {**super().get_actions(request)}
        for name, verb in self.verbs.items():
            if verb.in_list and self.may(request, name):
                found[f"{name}_selected"] = (_selected(name), f"{name}_selected", verb.label)
        return found

    def do_selected(self, request: HttpRequest, rows: QuerySet[Any], name: str) -> HttpResponse | None:
        verb = self.verbs[name]
        chosen = list(rows)
        if not verb.asks:
            for row in chosen:
                self._do(request, name, row)
            return None
        title = f"{verb.label}: {len(chosen)} {self.opts.verbose_name if len(chosen) == 1 else self.opts.verbose_name_plural}"
        return self.confirm_selected(
            request, chosen, f"{name}_selected", title=title, sentence=verb.asks, button=verb.label,
            danger=verb.danger, verb=lambda row, _reason: self._call(request, name, row), with_reason=False, done=verb.done,
        )  # fmt: skip


def _selected(name: str) -> Callable[[Any, HttpRequest, QuerySet[Any]], HttpResponse | None]:
    def act(model_admin: RowsWithVerbs, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
        return model_admin.do_selected(request, rows, name)

    return act
