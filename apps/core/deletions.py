"""Deleting a row that others may delete at the same moment."""

from django.db import models, transaction

from apps.core.errors import NotFound


def delete_once(row: models.Model) -> None:
    """
    Delete a row with what belongs to it; of several who do so together one has done it.

    Raises NotFound when the row is gone already; nothing else is changed then.
    """
    with transaction.atomic():
        _count, by_table = row.delete()
        if not by_table.get(row._meta.label):
            raise NotFound("It was deleted meanwhile")
