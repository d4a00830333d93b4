"""
Write docs/configuration.md from the table in ``env.py``: ``python -m settings.document``.

A test holds the page to the table.
"""

from settings import env

PAGE = env.BASE_DIR / "docs" / "configuration.md"
HEAD = """\
# Configuration

Everything is an environment variable, read once at the start. A value that cannot be used, and an `ATTUNE_` name that
nobody knows, stop the start with a sentence that names it. An empty value counts as not set, except for secrets.
Names that programs get (`ATTUNE_API_URL`, `ATTUNE_EXECUTION_ID`, ...) are known and ignored.

`<state>` is `ATTUNE_STATE_DIR`. Several hosts share `DATABASE_URL`, `CELERY_BROKER_URL`, `ATTUNE_JWT_SECRET`,
`ATTUNE_ENCRYPTION_KEY`, and the directories of `ATTUNE_PACKS_DIR` and `ATTUNE_ARTIFACTS_DIR`. Read, but without effect
so far: `CHANNEL_LAYER_URL`, `ATTUNE_METRICS_TOKEN`, `ATTUNE_STORAGE_BUDGET_GB`; `ATTUNE_LOG_RETENTION_DAYS`
counts for logs of sensors, and is only noted with those of executions. The settings module is `settings.dev`; behind TLS use
`DJANGO_SETTINGS_MODULE=settings.production`, which asks for secure cookies and a strong secret.

This page is made from `settings/env.py` by `make fix`.

| Variable | Default | Meaning |
|---|---|---|
"""


def page() -> str:
    """Return the page as it should be."""
    return HEAD + "".join(_row(variable) for variable in env.VARIABLES)


def _row(variable: env.Variable) -> str:
    default = variable.default_text or _text(variable.default)
    return f"| `{variable.name}` | {_escaped(default)} | {_escaped(variable.meaning)} |\n"


def _text(default: object) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


if __name__ == "__main__":
    PAGE.write_text(page())
