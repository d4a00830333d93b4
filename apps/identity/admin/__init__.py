"""The console's pages of who may sign in and what they may do; neither a password's hash nor a secret is on any of them."""

from apps.identity.admin import audit, identities, records, sets, tokens

__all__ = ["audit", "identities", "records", "sets", "tokens"]
