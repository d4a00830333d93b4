"""
News about packs, for the apps above; both are sent after the commit.

``pack_registered``: a pack was registered, uploaded, installed or loaded again. Arguments: ``pack`` (Pack),
``created`` (bool).

``pack_deleted``: a pack is gone. Arguments: ``pack_id`` (int), ``pack_ref`` (str).
"""

from django.dispatch import Signal

pack_registered = Signal()
pack_deleted = Signal()
