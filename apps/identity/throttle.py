"""Failed attempts to sign in, counted for one login from one address (auth.md section 3), shared by all processes."""

import hashlib
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Case, F, Value, When

from apps.core import clock
from apps.identity.errors import TooManyFailures
from apps.identity.models import SignInFailures

LIMIT = 10
WINDOW = timedelta(minutes=5)


def key_for(login: str, address: str) -> str:
    """Return the name of the count; a hash, since logins typed by mistake may be passwords."""
    return hashlib.sha256(f"{login}\n{address}".encode()).hexdigest()


def check(key: str) -> None:
    """Raise TooManyFailures after ten failures within five minutes."""
    if SignInFailures.objects.filter(key=key, failures__gte=LIMIT, since__gt=clock.now() - WINDOW).exists():
        raise TooManyFailures


def count(key: str) -> None:
    """Count one failure; the window begins with the first."""
    now = clock.now()
    if _add(key, now):
        return
    try:
        with transaction.atomic():
            SignInFailures.objects.create(key=key, failures=1, since=now)
    except IntegrityError:
        _add(key, now)  # another failure at the same moment was the first


def _add(key: str, now: datetime) -> bool:
    """Add one to the count, if there is one."""
    over = When(since__lte=now - WINDOW, then=Value(1))
    changed = SignInFailures.objects.filter(key=key).update(
        failures=Case(over, default=F("failures") + 1),
        since=Case(When(since__lte=now - WINDOW, then=Value(now)), default=F("since")),
    )
    return changed > 0


def clear(key: str) -> None:
    """Forget the failures after a success."""
    SignInFailures.objects.filter(key=key).delete()


def forget_old() -> int:
    """Delete counts whose window is over; return how many."""
    return SignInFailures.objects.filter(since__lte=clock.now() - WINDOW).delete()[0]
