"""The console's pieces of HTML."""

from datetime import UTC, datetime, timedelta

import pytest

from apps.core import markup

HOSTILE = '<script>alert("x")</script>'


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0, "0 ms"), (0.0124, "12 ms"), (0.9994, "999 ms"), (0.9996, "1.0 s"), (3.44, "3.4 s"), (59.96, "1 min"),
        (125, "2 min 5 s"), (3600, "1 h"), (11_400, "3 h 10 min"), (4 * 86_400 + 7200, "4 d 2 h"),
    ],
)  # fmt: skip
def test_seconds_text(seconds, text):
    assert markup.seconds_text(seconds) == text


@pytest.mark.parametrize(
    "ago, text",
    [(0.2, "just now"), (5, "5 s ago"), (130, "2 min ago"), (-20, "in 20 s"), (-7300, "in 2 h"), (90_000, "1 d ago")],
)
def test_relative(ago, text):
    now = datetime(2026, 3, 1, tzinfo=UTC)

    assert markup.relative(now - timedelta(seconds=ago), now) == text


@pytest.mark.parametrize(
    "size, text", [(None, "–"), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB")]
)
def test_size_text(size, text):
    assert markup.size_text(size) == text


def test_json_block_colours_and_escapes():
    shown = markup.json_block({"k<": [1, "</pre>", None]})

    assert '<span class="k">&quot;k&lt;&quot;</span>: [' in shown
    assert '<span class="n">1</span>' in shown
    assert '<span class="s">&quot;&lt;/pre&gt;&quot;</span>' in shown
    assert '<span class="l">null</span>' in shown


def test_json_block_cuts_what_is_long():
    shown = markup.json_block(["x" * 100_000])

    assert len(shown) < 70_000
    assert "cut here" in shown


@pytest.mark.parametrize(
    "shown",
    [
        markup.badge(HOSTILE), markup.link("/x", HOSTILE), markup.code_block(HOSTILE), markup.json_block({HOSTILE: HOSTILE}),
        markup.lines([HOSTILE]), markup.commas([HOSTILE]), markup.link(f"/{HOSTILE}", "x"), markup.badge("x", title=HOSTILE),
    ],
)  # fmt: skip
def test_nothing_comes_out_as_markup(shown):
    assert "<script" not in shown


def test_secrets_are_hidden_at_any_depth():
    schema = {
        "token": {"secret": True},
        "host": {"properties": {"password": {"type": "string", "secret": True}}, "type": "object"},
    }
    marker = {"$attune_secret": True, "redacted": True}

    shown = markup.without_secrets(schema, {"token": marker, "host": {"password": "hunter2", "name": "a"}, "more": 1})

    assert shown == {"token": marker, "host": {"password": "***", "name": "a"}, "more": 1}
