"""What every endpoint shares: envelopes, lists, query values, errors, base views. ``views.py`` shows how to use it."""
