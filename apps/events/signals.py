"""
News about events and what tells of them, for the apps above.

``event_stored``: inside the transaction that stores the event. A receiver writes in a savepoint of its own: a fault
above never loses the event, which the sweep then finds undecided. Arguments: ``event`` (Event), ``rule`` (RuleUse it is bound to, or None).

``triggers_changed``, ``sensors_changed``: inside the transaction that created, changed or deleted rows.
Arguments: ``refs`` (list of str).
"""

from django.dispatch import Signal

event_stored = Signal()
triggers_changed = Signal()
sensors_changed = Signal()
