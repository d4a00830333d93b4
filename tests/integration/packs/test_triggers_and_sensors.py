"""Trigger and sensor files of packs (packs.md 2, 5, 6)."""

import pytest

from apps.events.models import Sensor, Trigger
from apps.packs.services import load_core_pack, register_pack
from apps.workers.models import Runtime
from tests.factories import make_event, make_pack, make_rule, make_sensor, make_trigger

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("packs_dir")]

ORDER = "label: Order\n"
WATCH = "runner_type: python\nentry_point: watch.py\ntrigger_types: [order]\n"


def warnings_of(registration):
    return [(warning["file"], warning["line"], warning["message"]) for warning in registration.warnings]


def test_every_key_of_a_trigger_file_is_stored(write, core_pack):
    folder = write("shop", {"triggers/a.yaml": """
        ref: shop.order
        label: Order
        description: d
        enabled: false
        parameters: {region: {type: string, required: true}}
        output: {id: {type: integer}}
        type: webhook
        tags: [a]
        examples: [1]
        sensor: 7
        is_adhoc: true
    """})  # fmt: skip

    registration = register_pack(folder)

    assert registration.warnings == []
    trigger = Trigger.objects.get(pack=registration.pack)
    assert (trigger.ref, trigger.pack_ref, trigger.label, trigger.description) == ("shop.order", "shop", "Order", "d")
    assert (trigger.enabled, trigger.is_adhoc, trigger.sensor_id) == (False, False, None)
    assert trigger.param_schema == {"region": {"type": "string", "required": True}}
    assert trigger.out_schema == {"id": {"type": "integer"}}


def test_every_key_of_a_sensor_file_is_stored(write, core_pack):
    folder = write("shop", {
        "triggers/order.yaml": ORDER,
        "triggers/refund.yaml": "{}",
        "sensors/a.yaml": """
            ref: shop.watch
            label: Watch
            description: d
            enabled: false
            runner_type: python
            entry_point: watch.py
            trigger_types: [order, shop.refund, order]
            parameters: {path: {type: string}}
            config: {base_url: "http://x"}
            runtime_version: ">=3.11"
            worker_selector: {zone: eu}
            worker_tolerations: [{key: gpu}]
            worker_affinity: {required: [{match_labels: {a: b}}]}
            log_retention_policy: days
            log_retention_limit: 3
            artifact_retention_policy: versions
            artifact_retention_limit: 4
            hot_reload: true
            poll_interval: 5
        """,
    })  # fmt: skip

    registration = register_pack(folder)

    assert registration.warnings == []
    sensor = Sensor.objects.get(pack=registration.pack)
    assert (sensor.runtime, sensor.runtime_ref) == (Runtime.objects.get(ref="core.python"), "core.python")
    stored = {name: getattr(sensor, name) for name in (
        "ref", "pack_ref", "label", "description", "enabled", "is_adhoc", "entrypoint", "param_schema", "config",
        "runtime_version_constraint", "worker_selector", "worker_tolerations", "worker_affinity",
        "log_retention_policy", "log_retention_limit", "artifact_retention_policy", "artifact_retention_limit",
        "hot_reload",
    )}  # fmt: skip
    assert stored == {
        "ref": "shop.watch", "pack_ref": "shop", "label": "Watch", "description": "d", "enabled": False,
        "is_adhoc": False, "entrypoint": "watch.py", "param_schema": {"path": {"type": "string"}},
        "config": {"base_url": "http://x"}, "runtime_version_constraint": ">=3.11", "worker_selector": {"zone": "eu"},
        "worker_tolerations": [{"key": "gpu"}], "worker_affinity": {"required": [{"match_labels": {"a": "b"}}]},
        "log_retention_policy": "days", "log_retention_limit": 3, "artifact_retention_policy": "versions",
        "artifact_retention_limit": 4, "hot_reload": True,
    }  # fmt: skip
    served = Trigger.objects.filter(sensor=sensor, sensor_ref="shop.watch").values_list("ref", flat=True)
    assert list(served) == ["shop.order", "shop.refund"]


def test_files_that_say_little_get_the_defaults(write, core_pack):
    folder = write("shop", {
        "triggers/new_order.yml": "{}",
        "sensors/watch_orders.yaml": "entry_point: watch\ntrigger_type: new_order",
    })  # fmt: skip

    register_pack(folder)

    trigger, sensor = Trigger.objects.get(pack_ref="shop"), Sensor.objects.get(pack_ref="shop")
    assert (trigger.ref, trigger.label, trigger.enabled, trigger.param_schema) == (
        "shop.new_order", "New Order", True, None,
    )  # fmt: skip
    assert (sensor.ref, sensor.label, sensor.runtime_ref, sensor.config) == (
        "shop.watch_orders", "Watch Orders", "core.native", {},
    )  # fmt: skip
    assert trigger.sensor == sensor


def test_faulty_files_are_left_out_and_named_with_their_line(write, core_pack):
    folder = write("shop", {
        "triggers/a.yaml": "ref: Shop.Upper",
        "triggers/b.yaml": "label: B\nparameters: [1]",
        "triggers/c.yaml": "label: C\nenabled: perhaps",
        "triggers/d.yaml": "[]",
        "triggers/order.yaml": ORDER,
        "sensors/a.yaml": "label: A\ntrigger_type: order",
        "sensors/b.yaml": "entry_point: b\nrunner_type: cobol",
        "sensors/c.yaml": "entry_point: c\ntrigger_types: order",
        "sensors/d.yaml": "entry_point: d\nworker_tolerations: [{}]",
        "sensors/e.yaml": "entry_point: e\nlog_retention_limit: 0",
        "sensors/f.yaml": "entry_point: f\nruntime_version: newest",
        "sensors/g.yaml": "entry_point: g\nconfig: [1]",
        "sensors/ok.yaml": "entry_point: ok\nrunner_type: native\ntrigger_types: [order, missing, other.none]",
    })  # fmt: skip

    registration = register_pack(folder)

    found = warnings_of(registration)
    assert [(file, line) for file, line, _message in found] == [
        ("triggers/a.yaml", 1), ("triggers/b.yaml", 2), ("triggers/c.yaml", 2), ("triggers/d.yaml", None),
        ("sensors/a.yaml", None), ("sensors/b.yaml", 2), ("sensors/c.yaml", 2), ("sensors/d.yaml", 2),
        ("sensors/e.yaml", 2), ("sensors/f.yaml", 2), ("sensors/g.yaml", 2), ("sensors/ok.yaml", 3),
        ("sensors/ok.yaml", 3),
    ]  # fmt: skip
    assert found[-1][2] == "there is no trigger 'other.none'"
    assert list(Trigger.objects.filter(pack_ref="shop").values_list("ref", flat=True)) == ["shop.order"]
    assert list(Sensor.objects.filter(pack_ref="shop").values_list("ref", flat=True)) == ["shop.ok"]


def test_registering_again_updates_in_place_and_removes_what_is_gone(write, core_pack):
    first = {"triggers/order.yaml": ORDER, "triggers/old.yaml": "{}", "sensors/watch.yaml": WATCH,
             "sensors/old.yaml": "entry_point: x\ntrigger_type: old"}  # fmt: skip
    pack = register_pack(write("shop", first)).pack
    trigger, sensor = Trigger.objects.get(ref="shop.order"), Sensor.objects.get(ref="shop.watch")
    old = Trigger.objects.get(ref="shop.old")
    by_hand = make_trigger(pack=pack, ref="shop.by_hand", is_adhoc=True)
    sensor_by_hand = make_sensor(pack=pack, ref="shop.sensor_by_hand", is_adhoc=True)
    rule, event = make_rule(trigger=old), make_event(trigger=old)

    second = {"triggers/order.yaml": "label: Changed\nenabled: false", "sensors/watch.yaml": WATCH + "enabled: false"}
    registration = register_pack(write("shop", second), force=True)

    assert registration.warnings == []
    assert set(Trigger.objects.filter(pack=pack)) == {trigger, by_hand}
    assert set(Sensor.objects.filter(pack=pack)) == {sensor, sensor_by_hand}
    trigger.refresh_from_db()
    sensor.refresh_from_db()
    rule.refresh_from_db()
    event.refresh_from_db()
    assert (trigger.label, trigger.enabled, trigger.sensor, sensor.enabled) == ("Changed", False, sensor, False)
    assert (rule.trigger_id, rule.trigger_ref, event.trigger_id) == (None, "shop.old", None)


def test_a_sensor_gives_back_what_its_file_no_longer_names(write, core_pack):
    files = {"triggers/order.yaml": ORDER, "triggers/refund.yaml": "{}"}
    register_pack(write("shop", {**files, "sensors/watch.yaml": WATCH}))

    register_pack(write("shop", {**files, "sensors/watch.yaml": WATCH.replace("order", "refund")}), force=True)

    assert list(Trigger.objects.filter(pack_ref="shop").values_list("ref", "sensor_ref")) == [
        ("shop.order", None), ("shop.refund", "shop.watch"),
    ]  # fmt: skip


def test_an_unchanged_pack_writes_no_rows(write, core_pack):
    folder = write("shop", {"triggers/order.yaml": ORDER, "sensors/watch.yaml": WATCH})
    register_pack(folder)
    before = [*Trigger.objects.values_list("ref", "updated"), *Sensor.objects.values_list("ref", "updated")]

    register_pack(folder, force=True)

    assert [*Trigger.objects.values_list("ref", "updated"), *Sensor.objects.values_list("ref", "updated")] == before


def test_a_trigger_that_moves_to_another_sensor_is_said(write, core_pack):
    other = make_trigger(ref="other.order")
    make_sensor(other, ref="other.watch")

    registration = register_pack(write("shop", {"sensors/w.yaml": "entry_point: w\ntrigger_type: other.order"}))

    assert warnings_of(registration) == [
        ("sensors/w.yaml", None, "'other.order' was served by 'other.watch' until now")
    ]
    other.refresh_from_db()
    assert other.sensor_ref == "shop.w"


def test_nobody_takes_over_what_belongs_to_another_pack_or_was_made_by_hand(write, core_pack):
    others = make_trigger(ref="other.order", label="Theirs")
    pack = make_pack(ref="shop")
    by_hand = make_trigger(pack=pack, ref="shop.order", label="By hand", is_adhoc=True)
    sensor = make_sensor(ref="other.watch", label="Theirs")

    registration = register_pack(
        write("shop", {
            "triggers/a.yaml": "ref: other.order",
            "triggers/b.yaml": "ref: shop.order",
            "sensors/a.yaml": "ref: other.watch\nentry_point: x",
        }),
        force=True,
    )  # fmt: skip

    assert [file for file, _line, _message in warnings_of(registration)] == [
        "triggers/a.yaml", "triggers/b.yaml", "sensors/a.yaml",
    ]  # fmt: skip
    for row in (others, by_hand, sensor):
        label = row.label
        row.refresh_from_db()
        assert row.label == label


def test_the_core_pack_brings_the_system_triggers_and_two_sensors():
    pack = load_core_pack()

    system = Trigger.objects.filter(pack=pack, sensor=None)
    assert list(system.values_list("ref", "enabled", "is_adhoc", "param_schema")) == [
        ("core.alert", True, False, None), ("core.execution_finished", True, False, None),
        ("core.queue_empty", True, False, None), ("core.queue_started", True, False, None),
    ]  # fmt: skip
    assert set(system.get(ref="core.alert").out_schema) == {
        "severity", "category", "failure_type", "component_type", "component_id", "component_ref", "worker_role",
        "observed_at", "summary", "details", "correlation_id",
    }  # fmt: skip
    assert list(Sensor.objects.filter(pack=pack).values_list("ref", "runtime_ref", "enabled")) == [
        ("core.file_sensor", "core.python", True), ("core.timer_sensor", "core.native", True),
    ]  # fmt: skip
    served = dict(Trigger.objects.exclude(sensor=None).values_list("ref", "sensor_ref"))
    assert served == {
        "core.crontimer": "core.timer_sensor", "core.datetimetimer": "core.timer_sensor",
        "core.filechange": "core.file_sensor", "core.intervaltimer": "core.timer_sensor",
        "core.rruletimer": "core.timer_sensor",
    }  # fmt: skip
