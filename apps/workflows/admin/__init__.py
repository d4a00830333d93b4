"""The console's pages of workflows."""

from apps.workflows.admin import definitions

__all__ = ["definitions"]
