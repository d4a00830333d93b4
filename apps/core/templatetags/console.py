"""The console's pieces of HTML, for templates."""

from datetime import datetime

from django import template
from django.utils.safestring import SafeString

from apps.core import markup

register = template.Library()


@register.filter
def badge(word: str | None) -> SafeString:
    return markup.badge(word)


@register.filter
def tone(word: object, tone: str) -> SafeString:
    """A word in a colour of its own, whatever it says."""
    return markup.badge(str(word), tone=tone)


@register.filter
def when(moment: datetime | None) -> SafeString:
    return markup.when(moment)


@register.filter
def milliseconds(value: int | None) -> SafeString:
    return markup.milliseconds(value)
