"""
The engine that runs workflows (workflows.md sections 4-10).

``core.py`` decides, on plain values; all state is read and written through a ``Book``. ``database.py`` is the book of
real runs, ``memory.py`` that of dry runs and tests. ``service.py`` joins it with executions.
"""
