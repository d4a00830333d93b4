"""Policies: limits on how executions start (execution.md section 17). Dispatch, one app above, holds to them."""
