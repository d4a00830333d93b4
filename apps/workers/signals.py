"""
News about workers, for the apps above.

``lease_over``: inside the transaction that ends a lease or takes it over. Arguments: ``worker`` (Worker),
``reason`` ("worker_heartbeat_stale" when it ran out, "worker_unavailable" when it was given up or its holder is gone).
What the worker still had is settled there and then.

``worker_draining``: a warm stop or a drain has begun. Arguments: ``worker``. What it has not claimed is taken back.

``lease_renewed``: after each renewal, outside a transaction. Arguments: ``worker_id`` (int), ``holder`` (UUID),
``runs`` ({execution id: epoch} of what this process runs), ``stop`` (callable(execution_id, reason) that stops one).

``worker_available``: a worker can take work it could not take before (registered, uncordoned, new capabilities).

``environment_built``: a build of a pack's environment has ended, outside a transaction. Arguments: ``pack`` (Pack),
``runtime`` (Runtime), ``version`` (str, empty: none was selected), ``log`` (Path of its output), ``succeeded`` (bool).
"""

from django.dispatch import Signal

lease_over = Signal()
worker_draining = Signal()
lease_renewed = Signal()
worker_available = Signal()
environment_built = Signal()
