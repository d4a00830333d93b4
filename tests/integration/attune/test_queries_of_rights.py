"""What rights cost: every operation of the document, for somebody with few grants and with many."""

import json
import re
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from apps.identity.grants import ACTIONS
from apps.identity.models import IdentityRoleAssignment, PermissionAssignment, PermissionSetRoleAssignment
from attune import openapi
from tests.clients import signed_in
from tests.factories import grant, make_holder, make_set
from tests.paths import Named

METHODS = ("get", "post", "put", "delete")
RIGHTS = re.compile(r"FROM \"?(identity|permission_set|identity_role_assignment|permission_assignment)\b")
# Those rows are what these are about; and a pack takes its permission sets along.
ABOUT_RIGHTS = re.compile(r"\w+ (/api/v1/(identities|permissions)|/auth/)|delete /api/v1/packs/{ref}$")


def everything_of(pack: str, **more: Any) -> list[dict[str, Any]]:
    """A grant of every action of every resource, constrained where rows are of packs."""
    plain = ("identities", "permissions", "audit_log", "retention", "workers", "runtimes")
    return [
        grant(*(f"{name}:{action}" for action in sorted(actions)), **({} if name in plain else {"pack_refs": [pack], **more}))
        for name, actions in ACTIONS.items()
    ]  # fmt: skip


@pytest.fixture
def few(db: None) -> Any:
    return signed_in(make_holder(*everything_of("pp"), attributes={"team": "ops"}))


@pytest.fixture
def many(db: None) -> Any:
    grants = [each for number in range(30) for each in everything_of(f"p{number}", refs=[f"r{number}"])]
    holder = make_holder(*everything_of("pp"), *grants, attributes={"team": "ops"})
    for number in range(20):
        PermissionAssignment.objects.create(
            identity=holder, permset=make_set(grant("actions:read", refs=[f"x{number}"]))
        )
        PermissionSetRoleAssignment.objects.create(
            permset=make_set(grant("rules:read", refs=["x"])), role=f"r{number}"
        )
        IdentityRoleAssignment.objects.create(identity=holder, role=f"r{number}")
    return signed_in(holder)


def asked(client: Any, method: str, path: str) -> tuple[int, list[str]]:
    """Return the status, and the queries of the request."""
    with CaptureQueriesContext(connection) as captured, transaction.atomic():
        answer = client.generic(method.upper(), path, "" if method in ("get", "delete") else "{}", content_type="application/json")  # fmt: skip
        transaction.set_rollback(True)
    return answer.status_code, [query["sql"] for query in captured if "SAVEPOINT" not in query["sql"]]


def test_rights_cost_two_queries_however_many_grants(few, many):
    named, wrong, answered = Named(), [], 0
    for path, item in json.loads(openapi.document())["paths"].items():
        where = re.sub(r"{(\w+)}", lambda found: str((named.candidates(path, found[1]) or [1])[0]), path)  # noqa: B023  # used at once
        for method in set(item) & set(METHODS):
            asked(few, method, where)  # whatever is remembered for good is remembered now
            (status, of_few), (status_of_many, of_many) = asked(few, method, where), asked(many, method, where)
            answered += status < 300
            if (status, len(of_few)) != (status_of_many, len(of_many)):
                wrong.append(f"{method} {where}: {status} {len(of_few)}, {status_of_many} {len(of_many)}")
            rights = [sql for sql in of_many if RIGHTS.search(sql)]
            if len(rights) > 2 and not ABOUT_RIGHTS.match(f"{method} {path}"):
                wrong.append("\n    ".join([f"{method} {where}:", *rights]))
    assert not wrong, "\n".join(["", *wrong])
    assert answered > 80
