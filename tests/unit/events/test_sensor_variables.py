import json

import pytest

from apps.events.sensors.variables import (
    LONGEST_VALUE_BYTES,
    Surroundings,
    TooManyRules,
    config_variables,
    sensor_variables,
    triggers_variable,
)


def test_config_becomes_variables_with_safe_names():
    config = {
        "path": "/srv/in",
        "poll-every.s": 5,
        "deep": {"a": [1]},
        "on": True,
        "no": None,
        "ä": "x",
        "nul": "a\0b",
    }

    assert config_variables(config) == {
        "ATTUNE_SENSOR_CONFIG_PATH": "/srv/in",
        "ATTUNE_SENSOR_CONFIG_POLL_EVERY_S": "5",
        "ATTUNE_SENSOR_CONFIG_DEEP": '{"a":[1]}',
        "ATTUNE_SENSOR_CONFIG_ON": "true",
        "ATTUNE_SENSOR_CONFIG_NO": "",
        "ATTUNE_SENSOR_CONFIG__": "x",
        "ATTUNE_SENSOR_CONFIG_NUL": "ab",
    }


@pytest.mark.parametrize("config", [None, [], "text", 7])
def test_config_that_is_no_object_gives_no_variables(config):
    assert config_variables(config) == {}


def test_config_cannot_take_the_place_of_what_the_product_says():
    surroundings = Surroundings(api_url="http://attune", artifacts_dir="/a", log_level="info")

    found = sensor_variables(sensor_id=7, sensor_ref="lab.s", token="t", config={"x": 1}, surroundings=surroundings)

    assert found == {
        "ATTUNE_SENSOR_CONFIG_X": "1",
        "ATTUNE_API_URL": "http://attune",
        "ATTUNE_API_TOKEN": "t",
        "ATTUNE_SENSOR_ID": "7",
        "ATTUNE_SENSOR_REF": "lab.s",
        "ATTUNE_ARTIFACTS_DIR": "/a",
        "ATTUNE_LOG_LEVEL": "info",
    }


def test_rules_are_json_that_any_environment_holds():
    rules = [{"id": 1, "ref": "lab.r", "trigger_params": {"path": "/tmp/ü\ud800\0"}}]

    text = triggers_variable(rules, follows_changes=False)

    assert text.isascii()
    assert "\0" not in text
    assert json.loads(text) == rules


def test_more_rules_than_a_variable_holds():
    rules = [{"id": number, "ref": "lab.rule", "trigger_params": {"text": "x" * 1000}} for number in range(200)]
    assert len(json.dumps(rules)) > LONGEST_VALUE_BYTES

    with pytest.raises(TooManyRules, match="200 rules"):
        triggers_variable(rules, follows_changes=False)
    assert triggers_variable(rules, follows_changes=True) == "[]"
