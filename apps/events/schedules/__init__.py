"""
When a timer fires (events.md section 9): its settings read and checked, its due times, what becomes of missed ones.

Pure: no database and no clock; every moment comes in as an argument, aware and in UTC. ``plan.read`` makes a ``Plan``
of a rule's ``trigger_params``; everything else is asked of that.
"""
