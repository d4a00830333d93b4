"""Small pieces of HTML that the console's pages share; whatever goes in comes out escaped."""

import copy
import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import reduce
from operator import getitem
from typing import Any
from urllib.parse import urlencode

from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from apps.core.schemas import secret_paths

EMPTY = mark_safe('<span class="at-muted">–</span>')
MAX_JSON_CHARACTERS = 65_536  # more would only make the browser slow; the API gives everything

# What a word means at a glance; a word that is not here is neutral.
TONES = {
    "completed": "good", "ready": "good", "active": "good", "healthy": "good", "enabled": "good", "matched": "good",
    "processed": "good", "fired": "good", "accepted": "good", "responded": "good",
    "running": "busy", "busy": "busy", "installing": "busy", "starting": "busy",
    "requested": "wait", "scheduling": "wait", "scheduled": "wait", "pending": "wait", "draining": "wait",
    "aggregating": "wait", "delayed": "wait", "undecided": "wait",
    "canceling": "warn", "cordoned": "warn", "outdated": "warn", "frozen": "warn", "deduplicated": "warn",
    "throttled": "warn", "skipped": "warn", "disabled": "warn", "trigger_disabled": "warn", "rule_disabled": "warn",
    "failed": "bad", "timeout": "bad", "abandoned": "bad", "error": "bad", "offline": "bad", "invalid": "bad",
    "backoff": "bad", "refused": "bad",
}  # fmt: skip


def badge(word: str | None, *, tone: str | None = None, title: str = "", text: str = "") -> SafeString:
    """Return a status word in its colour, or another text in the colour of the word."""
    if not word:
        return EMPTY
    return format_html(
        '<span class="at-badge at-{}" title="{}">{}</span>', tone or TONES.get(word, "plain"), title, text or word
    )


def link(url: str | None, text: Any, *, title: str = "") -> SafeString:
    """Return a link, or just the text where there is no such page."""
    if not url:
        return format_html("{}", text)
    return format_html('<a class="at-link" href="{}" title="{}">{}</a>', url, title, text)


def page_of(model: str, pk: Any) -> str | None:
    """Return the path of a row's page, e.g. ``page_of("executions_execution", 7)``; None where it has none."""
    try:
        return reverse(f"admin:{model}_change", args=[pk]) if pk is not None else None
    except NoReverseMatch:
        return None


def list_of(model: str, **filters: Any) -> str:
    """Return the path of a list narrowed by ``filters``."""
    query = "&".join(f"{name}={escape(value)}" for name, value in filters.items())
    return reverse(f"admin:{model}_changelist") + (f"?{query}" if query else "")


def page_named(name: str, **query: str) -> str | None:
    """Return the path of a page of another app by its name; None where there is none."""
    try:
        return reverse(name) + (f"?{urlencode(query)}" if query else "")
    except NoReverseMatch:
        return None


def row_link(model: str, pk: Any, text: Any) -> SafeString:
    """Return a link to a row's page; a dash when there is no row."""
    return EMPTY if pk is None and not text else link(page_of(model, pk), text)


def cut(text: str | None, longest: int) -> SafeString:
    """Return the beginning of a text, the whole of it where the pointer rests; a dash for none."""
    if not text:
        return EMPTY
    if len(text) <= longest:
        return format_html("{}", text)
    return format_html('<span title="{}">{}…</span>', text[:2000], text[:longest])


def seconds_text(seconds: float) -> str:
    """Return a length of time in one or two units: ``12 ms``, ``3.4 s``, ``2 min 5 s``, ``3 h 10 min``, ``4 d 2 h``."""
    if seconds < 0.9995:
        return f"{max(0, round(seconds * 1000))} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, name, small, small_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {name}" + (f" {rest} {small_name}" if rest else "")
    raise AssertionError(seconds)


def milliseconds(value: int | None) -> SafeString:
    return EMPTY if value is None else format_html("{}", seconds_text(value / 1000))


def relative(moment: datetime, now: datetime | None = None) -> str:
    """Return ``3 min ago`` or ``in 20 s``."""
    seconds = ((now or timezone.now()) - moment).total_seconds()
    if abs(seconds) < 1:
        return "just now"
    length = seconds_text(float(round(abs(seconds)))) if abs(seconds) >= 60 else f"{abs(seconds):.0f} s"
    coarse = " ".join(length.split(" ")[:2])
    return f"{coarse} ago" if seconds > 0 else f"in {coarse}"


def absolute(moment: datetime) -> str:
    return moment.astimezone(timezone.get_default_timezone()).strftime("%Y-%m-%d %H:%M:%S")


def when(moment: datetime | None) -> SafeString:
    """Return a time as people read it: how long ago, and the exact UTC time below."""
    if moment is None:
        return EMPTY
    return format_html(
        '<time class="at-when" datetime="{}">{}<small>{}</small></time>',
        moment.isoformat(), relative(moment), absolute(moment),
    )  # fmt: skip


def size_text(size_bytes: int | None) -> str:
    """Return ``812 B``, ``1.4 KiB``, ``3.0 MiB``."""
    if size_bytes is None:
        return "–"
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


# One alternative per kind of JSON token; a string followed by a colon is a key.
_TOKEN = re.compile(r'("(?:\\.|[^"\\])*")(\s*:)?|\b(true|false|null)\b|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)')


def _colour(token: re.Match[str]) -> str:
    text, colon, literal, number = token.groups()
    if text is not None:
        return f'<span class="{"k" if colon else "s"}">{escape(text)}</span>{colon or ""}'
    return f'<span class="{"l" if literal else "n"}">{literal or number}</span>'


def json_block(value: Any) -> SafeString:
    """Return JSON indented and coloured; a dash for nothing."""
    if value is None or value in ({}, []):
        return EMPTY
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    cut = len(text) > MAX_JSON_CHARACTERS
    text = text[:MAX_JSON_CHARACTERS]
    parts, end = [], 0
    for token in _TOKEN.finditer(text):
        parts += [escape(text[end : token.start()]), _colour(token)]
        end = token.end()
    parts.append(escape(text[end:]))
    note = '\n<span class="at-muted">… cut here, the API gives all of it</span>' if cut else ""
    # Every part was escaped above, or is markup of ours.
    return mark_safe(f'<pre class="at-code at-json">{"".join(parts)}{note}</pre>')


def code_block(text: str | None) -> SafeString:
    """Return text as it is, in a box that scrolls."""
    return format_html('<pre class="at-code">{}</pre>', text) if text else EMPTY


_TERMINAL_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def terminal_text(output: bytes) -> str:
    """Return what a program printed as text for a page: without colours, and without what is no character."""
    return _TERMINAL_COLOURS.sub("", output.decode("utf-8", "replace")).replace("\x00", "�")


def lines(items: Iterable[Any]) -> SafeString:
    """Return one line per item; a dash for none."""
    rows = [(item,) for item in items]
    return format_html_join("", "<div>{}</div>", rows) if rows else EMPTY


def commas(items: Iterable[Any]) -> SafeString:
    """Return items in one line, parted by commas; a dash for none."""
    rows = [(item,) for item in items]
    return format_html_join(", ", "{}", rows) if rows else EMPTY


def joined(items: Iterable[Any]) -> SafeString:
    """Return items beside one another; a dash for none."""
    rows = [(item,) for item in items]
    return format_html_join(" ", "{}", rows) if rows else EMPTY


def without_secrets(schema: Any, value: Any) -> Any:
    """Return a copy of a value with what its schema calls secret hidden, however it is stored."""
    if not isinstance(value, dict):
        return value
    shown = copy.deepcopy(value)
    for *way, last in secret_paths(schema, shown):
        holder = reduce(getitem, way, shown)
        if not isinstance(holder[last], Mapping):  # the marker in place of a value says more than stars
            holder[last] = "***"
    return shown
