"""``updated`` moves with every write of a row, those of a deletion elsewhere included (model.md 1.2)."""

from datetime import timedelta
from typing import Any

import pytest

from apps.core import clock
from tests.factories import (
    make_action,
    make_execution,
    make_identity,
    make_queue,
    make_rule,
    make_sensor,
    make_trigger,
    make_worker,
)

pytestmark = pytest.mark.django_db


def moved_by_deleting(named: Any, row: Any) -> bool:
    """Delete what the row names; return whether that moved the row's ``updated``."""
    long_ago = clock.now() - timedelta(days=1)
    type(row).objects.filter(pk=row.pk).update(updated=long_ago)
    named.delete()
    row.refresh_from_db()
    return bool(row.updated > long_ago)


def test_reference_that_becomes_null_moves_updated():
    action, trigger, person = make_action(), make_trigger(), make_identity()
    sensor = make_sensor(trigger)
    rule, queue, execution = make_rule(trigger=trigger), make_queue(action=action), make_execution(executor=person)
    worker = make_worker(cordoned_by=person)

    assert moved_by_deleting(sensor, trigger)
    assert moved_by_deleting(action, queue)
    assert moved_by_deleting(trigger, rule)
    assert moved_by_deleting(rule.action, rule)
    assert moved_by_deleting(person, worker)
    assert moved_by_deleting(execution.action, execution)
