"""Where the answers to requests with an ``Idempotency-Key`` are kept."""

from datetime import timedelta

from django.conf import settings

from apps.core import clock
from apps.core.api.idempotency import KeptAnswer
from apps.identity.models import IdempotencyRecord


class Records:
    """The table as a store (``apps.core.api.idempotency.Store``); called inside the guarded transaction."""

    def find(self, scope: str, key: str) -> KeptAnswer | None:
        record = IdempotencyRecord.objects.filter(scope=scope, key=key).first()
        if record is None:
            return None
        if record.expires_at <= clock.now():
            record.delete()
            return None
        return KeptAnswer(request_hash=record.request_hash, status=record.response_status, body=record.response_body)

    def keep(self, scope: str, key: str, answer: KeptAnswer, *, at_least: timedelta = timedelta(0)) -> None:
        IdempotencyRecord.objects.create(
            scope=scope,
            key=key,
            request_hash=answer.request_hash,
            response_status=answer.status,
            response_body=answer.body,
            expires_at=clock.now() + max(settings.IDEMPOTENCY_TTL, at_least),
        )


def forget_old() -> int:
    """Delete what has expired; return how many."""
    return IdempotencyRecord.objects.filter(expires_at__lte=clock.now()).delete()[0]
