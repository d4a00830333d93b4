"""Parameters of a rule's action (events.md section 5)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.core.expressions import Lazy, Scope
from apps.rules.mapping import SecretScope, render_key, render_params

PAYLOAD = {
    "device": "sda1",
    "used": 91,
    "tags": ["a", {"b": 1}],
    "content-type": "text/plain",
    "it's": "odd",
    "a|b": "bar",
    "null": None,
    "big": 2**70,
    "1": "one",
    "größe x": 5,
    "template": "{{ event.id }}",
}
EVENT = {
    "id": 7,
    "trigger": "core.webhook",
    "trigger_ref": "core.webhook",
    "payload": PAYLOAD,
    "config": {"headers": {"x-github-event": "push"}},
}
SCOPE = Scope(
    roots={
        "event": EVENT,
        "trigger": {"payload": PAYLOAD, "data": PAYLOAD},
        "pack": Lazy(lambda: {"config": {"url": "http://x"}}),
        "system": {"timestamp": "2026-03-01T00:00:00Z", "rule": {"id": 3, "ref": "core.rule"}},
    }
)


def rendered(template):
    return render_params({"x": template}, SCOPE).value["x"]


@pytest.mark.parametrize(
    "template, expected",
    [
        ("{{ event.payload.tags }}", ["a", {"b": 1}]), ("{{event.payload.used}}", 91), (" {{ event.payload.used }} ", 91), ("{{ event.payload.big }}", 2**70),
        ("Disk {{ event.payload.device }} at {{ event.payload.used }}%", "Disk sda1 at 91%"), ("{{ event.payload.content-type }}", "text/plain"),
        ("type={{ event.payload.content-type }}", "type=text/plain"), ("{{ event.config.headers.x-github-event }}", "push"), ("{{ event.payload.null }}", None),
        ("<{{ event.payload.null }}>", "<>"), ("{{ event.payload.tags.1.b }}", 1), ("{{ event.payload.tags[1].b }}", 1), ("{{ event.payload.1 }}", "one"),
        ("{{ event.payload.a|b }}", "bar"), ("{{ event.payload.device|upper }}", "SDA1"), ("{{ event.payload.used-1 }}", 90), ("{{ event.payload.used + 1 }}", 92),
        ("{{ event.payload['größe x'] }}", 5), ("{{ trigger.payload.device }}", "sda1"), ("{{ trigger.data.device }}", "sda1"), ("{{ pack.config.url }}", "http://x"),
        ("{{ system.rule.ref }}", "core.rule"), ("{{ event.trigger }}", "core.webhook"), ("{{ event.payload.level | default('info') | upper }}", "INFO"),
        ("{{ event.payload.template }}", "{{ event.id }}"), ("-{{ event.payload.template }}-", "-{{ event.id }}-"), ("tags: {{ event.payload.tags }}", 'tags: ["a",{"b":1}]'),
        ("{{ missing }}", None), ("a{{ missing }}b", "ab"), ("{{ event.payload.a.b.c }}", None), ("{{ datastore.x }}", None), ("{{ keystore.x.y }}", None),
        ("{{ aggregate.count }}", None), ("{{ 1 / 0 }}", None), ("{{ broken( ) ) }}", None), ("{{ }}", None), ("{% raw %}${#x}", "{% raw %}${#x}"), ("{{ no end", "{{ no end"),
        ("{{ '{{' }}", "{{"), ("{{ event.payload.tags.9 }}", None), ("{{ event.payload.tags.-1 }}", None), ("{{ event.payload.tags.first }}", None),
        ("{{ event.payload.x or 'nobody' }}", "nobody"), ("{{ 1.5 }}", 1.5), ("{{ 'a.b' }}", "a.b"), ("{{ event.payload.device.zz }}", None), ("{{ . }}", None),
        ("{{ event..payload }}", None),
    ],
)  # fmt: skip
def test_templates(template, expected):
    assert rendered(template) == expected
    assert type(rendered(template)) is type(expected)


def test_keys_are_left_alone_and_other_values_kept():
    params = {
        "{{ event.id }}": "{{ event.id }}",
        "n": 1,
        "f": 1.0,
        "b": True,
        "z": None,
        "l": ["{{ event.id }}", {"k": ["{{ event.id }}"]}],
    }

    assert render_params(params, SCOPE).value == {
        "{{ event.id }}": 7, "n": 1, "f": 1.0, "b": True, "z": None, "l": [7, {"k": [7]}],
    }  # fmt: skip


@pytest.mark.parametrize("params", [None, {}])
def test_no_parameters(params):
    assert render_params(params, SCOPE).value == {}


def test_what_found_nothing_is_listed():
    found = render_params(
        {"a": {"b": ["{{ event.payload.zz }}"]}, "c": "x {{ nothing }} {{ 1 / 0 }}", "d": "{{ event.payload.null }}"},
        SCOPE,
    )

    assert found.error is None
    assert [(warning["path"], warning["template"], warning["error"].split(" (")[0]) for warning in found.warnings] == [
        ("a.b.0", "{{ event.payload.zz }}", "'event.payload.zz' is undefined"),
        ("c", "{{ nothing }}", "unknown name 'nothing'"),
        ("c", "{{ 1 / 0 }}", "division by zero"),
    ]


def test_more_than_a_mebibyte_is_an_error_not_an_exception():
    scope = Scope(roots={"event": {"payload": "x" * 600_000}})

    found = render_params({"a": "{{ event.payload }}", "b": "{{ event.payload }}"}, scope)

    assert (found.value, found.warnings) == ({}, ())
    assert (
        found.error
        == "The parameters cannot be rendered: the rendered document is larger than 1,048,576 bytes of JSON"
    )


def test_secret_configuration_goes_into_secret_parameters_only():
    open_scope = Scope(roots={"pack": {"config": {"url": "u"}}})
    secret = SecretScope(
        scope=Scope(roots={"pack": {"config": {"url": "u", "token": "hunter2"}}}),
        places=[("token",), ("db", "password")],
    )
    params = {
        "token": "{{ pack.config.token }}", "url": "{{ pack.config.url }}?{{ pack.config.token }}", "all": "{{ pack.config }}",
        "db": {"password": {"deep": ["Bearer {{ pack.config.token }}"]}, "user": "{{ pack.config.token }}"},
    }  # fmt: skip

    found = render_params(params, open_scope, secret=secret)

    assert found.value == {
        "token": "hunter2", "url": "u?", "all": {"url": "u"}, "db": {"password": {"deep": ["Bearer hunter2"]}, "user": None},
    }  # fmt: skip
    assert [warning["path"] for warning in found.warnings] == ["url", "db.user"]
    assert "hunter2" not in str(found.warnings)


@pytest.mark.parametrize(
    "template, expected",
    [("{{ event.payload.device }}", "sda1"), ("{{ event.payload.used }}", "91"), ("{{ event.payload.tags }}", '["a",{"b":1}]'), ("{{ missing }}", ""),
     ("{{ event.payload.null }}", ""), (" a ", " a "), ("{{ event.payload.device }}/{{ event.id }}", "sda1/7"), ("", ""), ("{{ 1 / 0 }}", ""), ("{{", "{{")],
)  # fmt: skip
def test_keys_of_windows_are_text(template, expected):
    assert render_key(template, SCOPE) == expected


@settings(max_examples=300, deadline=None)
@given(
    st.recursive(
        st.one_of(
            st.integers(),
            st.text(max_size=20),
            st.text(alphabet="{}ev.n'\"([])| 0", max_size=20).map(lambda text: f"{{{{ event.{text} }}}}"),
            st.none(),
        ),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    )
)
def test_rendering_never_raises(params):
    found = render_params({"x": params}, SCOPE)

    assert found.error is None
    assert set(found.value) == {"x"}
