"""
Run a workflow that has ended once more, from some of its tasks (workflows.md section 13).

``plan.py`` decides what runs again, on plain values; ``service.py`` makes the new execution, ``stored.py`` keeps what
is to be done until it starts; ``taking_over.py`` then copies what is taken over.
"""
