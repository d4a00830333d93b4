"""What packs does for the app below it: a permission set has no foreign key upward (model.md 4.1)."""

from typing import Any

from django.db.models.signals import post_delete
from django.dispatch import receiver

from apps.identity.models import PermissionSet
from apps.packs.models import Pack


@receiver(post_delete, sender=Pack, dispatch_uid="packs.delete_permission_sets")
def delete_permission_sets(*, instance: Pack, **_signal: Any) -> None:
    """Let a pack's permission sets go with it, in the same transaction."""
    PermissionSet.objects.filter(pack=instance.pk).delete()
