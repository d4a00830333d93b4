"""Questions to people."""

from django.db import models
from django.db.models import Q

from apps.core.fields import Text
from apps.core.models import BaseQuerySet, Row
from apps.executions.models import Execution
from apps.identity.models import Identity


class InquiryStatus(models.TextChoices):
    PENDING = "pending"
    RESPONDED = "responded"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"


class InquiryQuerySet(BaseQuerySet["Inquiry"]):
    def pending(self) -> "InquiryQuerySet":
        return self.filter(status=InquiryStatus.PENDING)

    def newest_first(self) -> "InquiryQuerySet":
        return self.order_by("-created", "-id")


class Inquiry(Row):
    """A question that an execution asks a person, and the answer."""

    execution = models.OneToOneField(
        Execution, on_delete=models.CASCADE, db_column="execution", related_name="inquiry"
    )
    prompt = models.TextField(max_length=10_000)
    response_schema = models.JSONField(null=True, blank=True)
    assigned_to = models.ForeignKey(
        Identity, on_delete=models.SET_NULL, null=True, blank=True, db_column="assigned_to", related_name="+"
    )
    status = Text(max_length=10, choices=InquiryStatus, default=InquiryStatus.PENDING, db_default="pending")
    response = models.JSONField(null=True, blank=True)
    timeout_at = models.DateTimeField(null=True, blank=True)
    responded_at = models.DateTimeField(null=True, blank=True)
    responded_by = models.ForeignKey(
        Identity,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        db_column="responded_by",
        db_index=False,
        related_name="+",
    )
    validate_response = models.BooleanField(default=False, db_default=False)

    objects = InquiryQuerySet.as_manager()  # type: ignore[misc]  # every model replaces its base's manager so

    class Meta:
        db_table = "inquiry"
        verbose_name_plural = "inquiries"
        indexes = (
            models.Index(fields=["created", "id"], name="inquiry_created"),
            models.Index(fields=["status", "created", "id"], name="inquiry_status"),
            models.Index(
                fields=["timeout_at"], condition=Q(status="pending", timeout_at__isnull=False), name="inquiry_deadline"
            ),
        )

    def __str__(self) -> str:
        return f"Inquiry #{self.pk}"
