"""Rules, their decisions, enforcements, tester and back-test over HTTP (api.md sections 10 and 12)."""
