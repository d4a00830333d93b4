"""
Sensors at work (events.md section 11): long-running programs under a worker that takes sensors.

``wanted.py`` says which are to run, ``placement.py`` and ``leases.py`` where, ``programs.py`` and ``variables.py`` how
one is started, ``running.py`` runs one process, ``held.py`` and ``streaks.py`` say what follows from its end,
``output.py`` and ``logs.py`` keep what it prints, ``rows.py`` what people see of it. ``supervisor.py`` turns it all.
"""
