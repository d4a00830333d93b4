"""
News about executions, for the apps above.

``execution_finished``: inside the transaction that ends an execution, in a savepoint of its own (a fault above never
undoes the transition). Arguments: ``execution`` (Execution, as just written), ``repeated`` (bool: the engine makes a
further attempt of it, in the same transaction).

``execution_changed``: after the commit of each change of status. Arguments: ``execution_id`` (int), ``status`` (str).
It informs; nothing may depend on it.
"""

from django.dispatch import Signal

execution_finished = Signal()
execution_changed = Signal()
