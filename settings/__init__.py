"""Django settings: base, and what differs in development, tests and production."""
