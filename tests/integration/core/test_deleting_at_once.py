"""Several callers delete the same thing at once: one has done it, the others find nothing (model.md 1.4 and 7)."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from apps.core.deletions import delete_once
from apps.core.errors import NotFound
from apps.identity.models import PermissionAssignment
from tests.clients import signed_in
from tests.factories import (
    make_action,
    make_admin,
    make_holder,
    make_identity,
    make_key,
    make_pack,
    make_policy,
    make_queue,
    make_rule,
    make_runtime,
    make_sensor,
    make_set,
    make_trigger,
)
from tests.racing import together

PATHS: dict[str, Callable[[], str]] = {
    "pack": lambda: f"packs/{make_pack().ref}",
    "action": lambda: f"actions/{make_action().ref}",
    "trigger": lambda: f"triggers/{make_trigger().ref}",
    "sensor": lambda: f"sensors/{make_sensor().ref}",
    "rule": lambda: f"rules/{make_rule().ref}",
    "runtime": lambda: f"runtimes/{make_runtime(ref='lab.runtime').ref}",
    "policy": lambda: f"policies/{make_policy(threshold=1).ref}",
    "queue": lambda: f"queues/{make_queue().ref}",
    "key": lambda: f"keys/{make_key().ref}",
    "identity": lambda: f"identities/{make_identity().pk}",
    "set": lambda: f"permissions/sets/{make_set().pk}",
    "assignment": lambda: f"permissions/assignments/{assignment().pk}",
}


def assignment() -> PermissionAssignment:
    return make_holder(make_set().ref).assignments.get()


def at_once(*requests: tuple[str, str, Any]) -> list[int]:
    """Send (method, path, body) together as an administrator; return the statuses."""
    admin = make_admin()

    def send(method: str, path: str, body: Any) -> int:
        return int(getattr(signed_in(admin), method)(f"/api/v1/{path}", body).status_code)

    return together(*(partial(send, *request) for request in requests))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", PATHS)
def test_one_of_several_has_deleted_it(kind: str) -> None:
    path = PATHS[kind]()

    assert sorted(at_once(*[("delete", path, None)] * 4)) == [200, 404, 404, 404]


@pytest.mark.django_db(transaction=True)
def test_what_is_given_meanwhile_does_not_keep_it() -> None:
    for _ in range(4):
        identity, permset = make_identity(), make_set()
        given = {"identity_id": identity.pk, "permission_set_ref": permset.ref}

        statuses = at_once(
            ("delete", f"identities/{identity.pk}", None),
            ("delete", f"permissions/sets/{permset.pk}", None),
            ("post", f"identities/{identity.pk}/roles", {"role": "ops"}),
            ("post", f"permissions/sets/{permset.pk}/roles", {"role": "ops"}),
            ("post", "permissions/assignments", given),
        )

        assert statuses[:2] == [200, 200]
        assert set(statuses[2:]) <= {201, 404, 422}


@pytest.mark.django_db
def test_what_is_gone_is_not_deleted_again() -> None:
    action: Any = make_action()
    twin = type(action).objects.get(pk=action.pk)
    delete_once(action)

    with pytest.raises(NotFound):
        delete_once(twin)
