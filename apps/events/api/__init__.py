"""Triggers, sensors and events over HTTP (api.md sections 7 to 9 and 11)."""
