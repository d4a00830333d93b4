"""Executions, their logs and their artifacts over HTTP."""
