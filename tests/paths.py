"""One row of every kind, and the paths and bodies that name them: for tests that walk the whole API document."""

from typing import Any

from apps.executions.models import Artifact
from apps.identity.models import (
    AuditEvent,
    Identity,
    IdentityRoleAssignment,
    IntegrationToken,
    PermissionAssignment,
    PermissionSetRoleAssignment,
)
from apps.inquiries.models import Inquiry
from apps.rules.models import Enforcement
from tests.factories import (
    make_action,
    make_event,
    make_execution,
    make_identity,
    make_item,
    make_key,
    make_pack,
    make_queue,
    make_rule,
    make_runtime,
    make_sensor,
    make_set,
    make_trigger,
    make_worker,
)
from tests.webhooks import KEY, make_webhook

REQUEST = "00000000-0000-0000-0000-000000000000"


class Named:
    """Makes the rows; ``paths`` and ``members`` hold what may stand for a parameter of a path, a member of a body."""

    def __init__(self) -> None:
        self.pack = make_pack(ref="pp")
        self.action = make_action(pack=self.pack, ref="pp.a")
        self.runtime = make_runtime(ref="pp.sh", pack=self.pack, pack_ref="pp")
        self.trigger = make_webhook(pack=self.pack, ref="pp.t")
        self.sensor = make_sensor(self.trigger, pack=self.pack, ref="pp.s")
        self.rule = make_rule(pack=self.pack, ref="pp.r", trigger=self.trigger, action=self.action)
        timer = make_trigger(ref="core.intervaltimer")
        self.timed = make_rule(
            pack=self.pack, action=self.action, trigger=timer, trigger_params={"unit": "minutes", "interval": 5}
        )
        self.event = make_event(trigger=self.trigger, payload={"a": 1})
        self.executions = [
            make_execution(action=self.action, status=each) for each in ("requested", "failed", "running")
        ]
        self.artifacts = [
            Artifact.objects.create(ref=f"r.{each}", type=each, scope="system", owner="")
            for each in ("file_text", "progress", "other")
        ]
        self.queue = make_queue(ref="pp.q", action=self.action)
        self.person: Identity = make_identity(login="somebody")
        self.permset = make_set(ref="tests.named")
        self.paths = self._paths()
        self.members = self._members()

    def _paths(self) -> dict[str, list[Any]]:
        fired = Enforcement.objects.create(
            rule=self.rule, rule_ref="pp.r", trigger_ref="pp.t", payload={}, event=self.event.pk
        )
        audit = AuditEvent.objects.create(
            category="api", event_type="api.get.success", outcome="success", request_id=REQUEST
        )
        return {
            "/actions/{ref}": [self.action.ref],
            "/artifacts/ref/{ref}": [each.ref for each in self.artifacts],
            "/artifacts/{id}": [each.pk for each in self.artifacts],
            "/audit-events/{id}": [audit.pk],
            "/enforcements/{id}": [fired.pk],
            "/events/{id}": [self.event.pk],
            "/executions/{id}": [each.pk for each in self.executions],
            "/identities/roles/{id}": [IdentityRoleAssignment.objects.create(identity=self.person, role="r").pk],
            "/identities/{id}": [self.person.pk],
            "/inquiries/{id}": [Inquiry.objects.create(execution=self.executions[0], prompt="?").pk],
            "/items/{id}": [make_item(self.queue).pk],
            "/keys/{ref}": [make_key(make_pack()).ref],
            "/packs/{ref}": [self.pack.ref],
            "/permissions/assignments/{id}": [
                PermissionAssignment.objects.create(identity=self.person, permset=self.permset).pk
            ],
            "/permissions/sets/roles/{id}": [
                PermissionSetRoleAssignment.objects.create(permset=self.permset, role="r").pk
            ],
            "/permissions/sets/{id}": [self.permset.pk],
            "/queues/{ref}": [self.queue.ref],
            "/rules/{ref}": [self.rule.ref, self.timed.ref],
            "/runtimes/{ref}": [self.runtime.ref],
            "/sensors/{ref}": [self.sensor.ref],
            "/triggers/{ref}": [self.trigger.ref],
            "/workers/{id}": [make_worker().pk],
            "{enforcement}": [fired.pk],
            "{entity_type}": ["execution", "worker"],
            "{number}": [1],
            "{request_id}": [REQUEST],
            "{status}": ["failed", "pending"],
            "{stream}": ["stdout", "stderr"],
            "{token_id}": [IntegrationToken.objects.create(identity=self.person, label="t", token_hash="x").pk],
            "{webhook_key}": [KEY],
        }

    def _members(self) -> dict[str, list[Any]]:
        executions = [each.pk for each in self.executions]
        return {
            "action_ref": [self.action.ref],
            "dispatch_action_ref": [self.action.ref],
            "event": [self.event.pk],
            "event_id": [self.event.pk],
            "execution": executions,
            "identity_id": [self.person.pk],
            "identity_login": [self.person.login],
            "ids": [executions],
            "owner_action": [self.action.pk],
            "owner_action_ref": [self.action.ref],
            "owner_identity": [self.person.pk],
            "owner_pack": [self.pack.pk],
            "owner_pack_ref": [self.pack.ref],
            "owner_sensor": [self.sensor.pk],
            "owner_sensor_ref": [self.sensor.ref],
            "pack_ref": [self.pack.ref],
            "permission_set_ref": [self.permset.ref],
            "ref": ["pp.new", "new", self.action.ref],
            "rule_ref": [self.rule.ref],
            "runtime": [self.runtime.pk],
            "runtime_ref": [self.runtime.ref],
            "sensor_ref": [self.sensor.ref],
            "trigger_ref": [self.trigger.ref, "core.intervaltimer"],
            "trigger_types": [[self.trigger.ref]],
            "version": ["1.0.0"],
        }

    def candidates(self, path: str, parameter: str) -> list[Any]:
        """Return what may stand for this parameter of the path; nothing when no row is named by it."""
        name = f"{{{parameter}}}"
        before = path[: path.index(name) + len(name)]
        return next((values for part, values in self.paths.items() if before.endswith(part)), [])
