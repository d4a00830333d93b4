"""The server's own log: readable, one event per line, without secrets."""

import json
import logging
import logging.config

import pytest
import structlog

from settings.logs import logging_config, without_secrets


@pytest.mark.parametrize(
    ("event", "blanked"),
    [
        ({"event": "signed in", "password": "hush"}, {"event": "signed in", "password": "***"}),
        ({"event": "x", "access_token": "hush"}, {"event": "x", "access_token": "***"}),
        ({"event": "to redis://me:hush@host:6379/0"}, {"event": "to redis://me:***@host:6379/0"}),
        ({"event": "to redis://:hush@host"}, {"event": "to redis://:***@host"}),
        ({"event": "got Authorization: Bearer abc.def"}, {"event": "got Authorization: Bearer ***"}),
        ({"event": "got eyJhbGciOi.eyJzdWIi.sig-x"}, {"event": "got ***"}),
        ({"event": "at http://host:3000/path", "count": 3}, {"event": "at http://host:3000/path", "count": 3}),
    ],
)
def test_secrets_are_blanked(event: dict[str, object], blanked: dict[str, object]) -> None:
    assert without_secrets(None, "info", dict(event)) == blanked


@pytest.mark.parametrize("terminal", [True, False])
def test_secret_in_a_traceback_is_blanked(terminal: bool, capsys: pytest.CaptureFixture[str]) -> None:
    before = logging.getLogger().handlers[:], logging.getLogger().level
    logging.config.dictConfig(logging_config("info", terminal=terminal))
    try:
        try:
            raise ValueError("cannot reach postgres://me:hush@host/name")
        except ValueError:
            logging.getLogger("attune.test").exception("It failed")
        structlog.get_logger("attune.test").info("Worker is there", worker="one", secret="hush")
    finally:
        logging.getLogger().handlers[:], logging.getLogger().level = before
    written = capsys.readouterr().err

    assert "hush" not in written
    assert "postgres://me:***@host/name" in written
    assert "Worker is there" in written
    if not terminal:
        assert [json.loads(line)["level"] for line in written.splitlines()] == ["error", "info"]
