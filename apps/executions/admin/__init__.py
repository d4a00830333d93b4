"""The console's pages of executions: lists, one execution as it runs, the form that runs an action."""

from apps.executions.admin import executions, policies, stored

__all__ = ["executions", "policies", "stored"]
