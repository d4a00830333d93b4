"""The server's own log: readable, one event per line, without secrets."""

import json
import logging
import logging.config

import pytest
import structlog
import uvicorn.config

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
        (
            {"event": f"POST /api/v1/webhooks/wh_{'0123456789abcdef' * 2}/raw"},
            {"event": "POST /api/v1/webhooks/wh_0123...cdef/raw"},
        ),
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


@pytest.mark.parametrize(("level", "lines"), [("info", 0), ("debug", 1)])
def test_access_log_of_uvicorn_hides_the_keys_of_webhooks(
    level: str, lines: int, capsys: pytest.CaptureFixture[str]
) -> None:
    before = logging.getLogger().handlers[:], logging.getLogger().level
    access = logging.getLogger("uvicorn.access")
    try:
        logging.config.dictConfig(uvicorn.config.LOGGING_CONFIG)  # what its command does ahead of ours
        logging.config.dictConfig(logging_config(level, terminal=False))
        path = f"/api/v1/webhooks/wh_{'0123456789abcdef' * 2}"
        access.info('%s - "%s %s HTTP/%s" %d', "127.0.0.1:5", "POST", path, "1.1", 200)
    finally:
        logging.getLogger().handlers[:], logging.getLogger().level = before
    written = capsys.readouterr()

    assert written.out == ""
    told = [json.loads(line)["event"] for line in written.err.splitlines()]
    assert told == ['127.0.0.1:5 - "POST /api/v1/webhooks/wh_0123...cdef HTTP/1.1" 200'] * lines
