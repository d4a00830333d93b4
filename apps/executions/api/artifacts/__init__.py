"""Artifacts and their versions over HTTP (api.md 17)."""
