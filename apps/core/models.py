"""What every table shares: id, created, updated, and the QuerySet that keeps ``updated`` true."""

from typing import Any, Self, TypeVar

from django.db import models

from apps.core.fields import JSONList, Now, Text, UpdatedField

_Row = TypeVar("_Row", bound=models.Model, covariant=True)


class BaseQuerySet(models.QuerySet[_Row]):
    """A QuerySet whose bulk updates move ``updated`` too."""

    def update(self, **fields: Any) -> int:
        if "updated" not in fields and hasattr(self.model, "updated"):
            fields["updated"] = Now()
        return super().update(**fields)


class ImmutableRow(models.Model):
    """A row that is written once: ``id`` and ``created``, both by the database."""

    id = models.BigAutoField(primary_key=True)
    created = models.DateTimeField(db_default=Now(), editable=False)

    objects = BaseQuerySet.as_manager()

    class Meta:
        abstract = True


class Row(ImmutableRow):
    """A row that changes: ``updated`` moves with every write."""

    updated = UpdatedField(editable=False)

    class Meta:
        abstract = True
        base_manager_name = "objects"  # references that become null with a deletion are writes as well

    def set(self, **fields: Any) -> Self:
        """Set the given fields and save just these (and ``updated``)."""
        for name, value in fields.items():
            setattr(self, name, value)
        self.save(update_fields=[*fields, "updated"])
        return self


class HistoryRow(models.Model):
    """One change of a tracked row: what was, what is, by whom."""

    id = models.BigAutoField(primary_key=True)
    time = models.DateTimeField(db_default=Now())
    operation = Text(max_length=10)
    entity_id = models.BigIntegerField()
    entity_ref = Text(max_length=255, null=True)
    changed_fields = JSONList(default=list, db_default=[])
    old_values = models.JSONField(null=True)
    new_values = models.JSONField(null=True)
    actor = models.TextField(null=True)
    reason = models.TextField(null=True)
    epoch = models.IntegerField(null=True)

    class Meta:
        abstract = True
