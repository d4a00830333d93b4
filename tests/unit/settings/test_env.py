"""The environment: what is refused, in which words, and what the page about it says."""

from pathlib import Path

import pytest

from settings import document, env


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ATTUNE_PORT", "eighty", "must be a whole number from 1 to 65535, not 'eighty'"),
        ("ATTUNE_PORT", "70000", "must be from 1 to 65535, not 70000"),
        ("ATTUNE_LEASE_SECONDS", "nan", "must be from 0.3 to 86400, not nan"),
        ("ATTUNE_HEARTBEAT_SECONDS", "often", "must be a number from 0.1 to 3600, not 'often'"),
        ("ATTUNE_ALLOW_SELF_REGISTRATION", "maybe", "must be true or false, not 'maybe'"),
        ("ATTUNE_LOG_LEVEL", "loud", "must be one of debug, info, warning, error, not 'loud'"),
        ("ATTUNE_WORKER_LABELS", "zone", "must be a comma list of name=value, 'zone' is not"),
        ("ATTUNE_WORKER_TAINTS", "{}", "must be a JSON list of objects"),
        ("ATTUNE_WORKER_TAINTS", "[", "must be a JSON list"),
        ("ATTUNE_WORKER_TAINTS", '[{"key": "gpu"}]', "must name the effect of each taint, no_schedule or prefer"),
        ("ATTUNE_WORKER_TAINTS", '[{"key": "gpu", "effect": "NoSchedule"}]', "must name the effect of each taint"),
        ("ATTUNE_WORKER_TAINTS", '[{"effect": "no_schedule"}]', "must have key, value? and effect, all texts"),
        ("ATTUNE_WORKER_TAINTS", '[{"key": 1, "effect": "no_schedule"}]', "must have key, value? and effect"),
        ("ATTUNE_TRUSTED_PROXIES", "10.0.0.0/99", "must be a comma list of networks like 10.0.0.0/8"),
        ("ATTUNE_ENCRYPTION_PREVIOUS_KEYS", "hush,,hush", "has an empty entry. It means"),
        ("ATTUNE_ENCRYPTION_PREVIOUS_KEYS", '["hush"', "must be a comma list or a JSON list of texts. It means"),
        ("ATTUNE_ENCRYPTION_PREVIOUS_KEYS", "[1]", "must be a comma list or a JSON list of texts. It means"),
        ("ATTUNE_CORS_ORIGINS", "*", "must be a comma list of exact origins"),
        ("ATTUNE_CORS_ORIGINS", "null", "must be a comma list of exact origins"),
        ("ATTUNE_DATABASE_SCHEMA", "a, b", "must be a plain name"),
        ("ATTUNE_ADMIN_PASSWORD", "short", "must have 8 to 128 characters, it has 5"),
        ("ATTUNE_STATE_DIR", "  ", "must name a directory, it is empty"),
        ("DATABASE_URL", "mysql://host/name", "must be a URL that begins with sqlite:// or postgres://"),
        ("DATABASE_URL", "postgres://host", "names no database"),
        ("DATABASE_URL", "sqlite://:memory:", "cannot be an SQLite database in memory"),
        ("CELERY_BROKER_URL", "amqp://host", "must be a URL that begins with memory:// or redis:// or rediss://"),
        ("CELERY_BROKER_URL", "redis", "must be a URL that begins with memory://"),
        ("CELERY_BROKER_URL", "redis://host:port/0", "is not a URL that can be read"),
    ],
)
def test_bad_value_is_refused_by_name(name: str, value: str, words: str) -> None:
    with pytest.raises(env.BadSetting) as refusal:
        env.read(name, {name: value})

    assert str(refusal.value).startswith(f"{name} {words}")
    assert env.BY_NAME[name].meaning in str(refusal.value)


def test_part_of_a_password_is_not_shown() -> None:
    with pytest.raises(env.BadSetting) as refusal:
        env.read("DATABASE_URL", {"DATABASE_URL": "postgres://me:hush/hush@host/name"})

    assert "hush" not in str(refusal.value)


@pytest.mark.parametrize(
    ("value", "keys"),
    [("", []), ("one", ["one"]), ("one, two", ["one", "two"]), ('["with, comma", "two"]', ["with, comma", "two"])],
)
def test_previous_keys_are_a_list_of_either_kind(value: str, keys: list[str]) -> None:
    assert env.read("ATTUNE_ENCRYPTION_PREVIOUS_KEYS", {"ATTUNE_ENCRYPTION_PREVIOUS_KEYS": value}) == keys


@pytest.mark.parametrize("variable", env.VARIABLES, ids=lambda variable: variable.name)
def test_variable_that_is_not_set_has_its_default(variable: env.Variable) -> None:
    assert env.read(variable.name, {}) == variable.default


def test_empty_value_counts_as_not_set_except_for_secrets() -> None:
    assert env.read("ATTUNE_PORT", {"ATTUNE_PORT": ""}) == 3000
    assert env.read("ATTUNE_HOST", {"ATTUNE_HOST": ""}) == "127.0.0.1"
    assert env.read("ATTUNE_JWT_SECRET", {"ATTUNE_JWT_SECRET": ""}) == ""


def test_lists_and_labels_are_read() -> None:
    assert env.read("ATTUNE_WORKER_RUNTIMES", {"ATTUNE_WORKER_RUNTIMES": "shell, python,"}) == ["shell", "python"]
    assert env.read("ATTUNE_WORKER_LABELS", {"ATTUNE_WORKER_LABELS": "zone=eu1, disk=ssd"}) == {
        "zone": "eu1",
        "disk": "ssd",
    }
    assert env.read("ATTUNE_STATE_DIR", {"ATTUNE_STATE_DIR": "/tmp/x"}) == Path("/tmp/x")


def test_unknown_name_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(env.BadSetting) as refusal:
        env.check_names({"ATTUNE_PROT": "3000"})

    assert str(refusal.value) == "ATTUNE_PROT is not a setting of this product. Did you mean ATTUNE_PORT?"


def test_unknown_name_like_no_other_points_to_the_page() -> None:
    with pytest.raises(env.BadSetting) as refusal:
        env.check_names({"ATTUNE_ZZZZZZ": "1"})

    assert "docs/configuration.md" in str(refusal.value)


@pytest.mark.parametrize("name", [*sorted(env.FOR_PROGRAMS), "ATTUNE_CONTEXT_USER", "ATTUNE_SENSOR_CONFIG_PATH"])
def test_name_that_programs_get_is_ignored(name: str) -> None:
    env.check_names({name: "anything", "PATH": "/bin", "DATABASE_URL": "x"})


def test_page_about_the_configuration_equals_the_table() -> None:
    assert document.PAGE.read_text() == document.page()
