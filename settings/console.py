"""How the console (the Django admin) looks and what its side bar offers, in the order of an operator's day."""

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy


def _asset(path: str) -> Any:
    """A file of ours; its address is known only once the settings are."""

    def address(request: HttpRequest) -> str:
        return static(path)

    return address


def _item(title: str, icon: str, name: str) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": reverse_lazy(f"admin:{name}")}


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Attune",
    "SITE_HEADER": "Attune",
    "SITE_SUBHEADER": "Run automation",
    "SITE_SYMBOL": "play_circle",
    "SITE_URL": None,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": _asset("attune/icon.svg")}],
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "BORDER_RADIUS": "6px",
    "STYLES": [_asset("attune/console.css")],
    "SCRIPTS": [_asset("attune/console.js")],
    "COLORS": {
        "primary": {
            "50": "oklch(96.2% .018 272.314)",
            "100": "oklch(93% .034 272.788)",
            "200": "oklch(87% .065 274.039)",
            "300": "oklch(78.5% .115 274.713)",
            "400": "oklch(67.3% .182 276.935)",
            "500": "oklch(64% .19 277.117)",
            "600": "oklch(51.1% .23 276.966)",
            "700": "oklch(45.7% .22 277.023)",
            "800": "oklch(39.8% .195 277.366)",
            "900": "oklch(35.9% .144 278.697)",
            "950": "oklch(25.7% .09 281.288)",
        }
    },
    "SIDEBAR": {
        "show_search": False,
        "command_search": False,
        "show_all_applications": False,
        "navigation": [
            {
                "title": None,
                "items": [
                    _item("Overview", "monitoring", "index"),
                    _item("Executions", "play_circle", "executions_execution_changelist"),
                    _item("Questions", "contact_support", "inquiries_inquiry_changelist"),
                    _item("Events", "bolt", "events_event_changelist"),
                    _item("Rules", "rule", "rules_rule_changelist"),
                    _item("Workflows", "account_tree", "workflows_workflowdefinition_changelist"),
                    _item("Queues", "stacks", "queues_workqueue_changelist"),
                    _item("Actions", "code_blocks", "actions_action_changelist"),
                    _item("Policies", "speed", "actions_policy_changelist"),
                    _item("Packs", "inventory_2", "packs_pack_changelist"),
                    _item("Artifacts", "description", "executions_artifact_changelist"),
                ],
            },
            {
                "title": "What happens",
                "separator": True,
                "items": [
                    _item("Triggers", "notifications_active", "events_trigger_changelist"),
                    _item("Sensors", "sensors", "events_sensor_changelist"),
                    _item("Timers", "schedule", "events_timer_changelist"),
                    _item("Webhook requests", "webhook", "events_webhookeventlog_changelist"),
                ],
            },
            {
                "title": "Where it runs",
                "separator": True,
                "items": [
                    _item("Workers", "dns", "workers_worker_changelist"),
                    _item("Runtimes", "terminal", "workers_runtime_changelist"),
                    _item("Environments", "deployed_code", "workers_packenvironment_changelist"),
                ],
            },
            {
                "title": "Access",
                "separator": True,
                "items": [
                    _item("Identities", "group", "identity_identity_changelist"),
                    _item("Permission sets", "verified_user", "identity_permissionset_changelist"),
                    _item("Integration tokens", "token", "identity_integrationtoken_changelist"),
                    _item("Keys", "vpn_key", "keys_key_changelist"),
                    _item("Audit trail", "policy", "identity_auditevent_changelist"),
                ],
            },
            {
                "title": "Under the hood",
                "separator": True,
                "collapsible": True,
                "items": [
                    _item("Decisions", "checklist", "rules_ruledecision_changelist"),
                    _item("Workflow runs", "lan", "workflows_workflowexecution_changelist"),
                    _item("Queue items", "inbox", "queues_workqueueitem_changelist"),
                    _item("Enforcements", "gavel", "rules_enforcement_changelist"),
                    _item("Windows", "filter_alt", "rules_rulewindow_changelist"),
                    _item("Due times", "timer", "events_timerfire_changelist"),
                    _item("Sensor processes", "memory", "events_sensorprocess_changelist"),
                    _item("Sensor changes", "restore", "events_sensorprocesshistory_changelist"),
                    _item("State changes", "history", "executions_executionhistory_changelist"),
                    _item("Worker changes", "manage_history", "workers_workerhistory_changelist"),
                    _item("Worker leases", "lock_clock", "workers_workerlease_changelist"),
                    _item("Dispatch demands", "queue", "executions_demand_changelist"),
                    _item("Artifact versions", "file_copy", "executions_artifactversion_changelist"),
                    _item("Runtime versions", "tag", "workers_runtimeversion_changelist"),
                    _item("Assignments", "badge", "identity_permissionassignment_changelist"),
                    _item("Roles of identities", "assignment_ind", "identity_identityroleassignment_changelist"),
                    _item("Roles of sets", "assignment", "identity_permissionsetroleassignment_changelist"),
                    _item("Idempotency keys", "key", "identity_idempotencyrecord_changelist"),
                ],
            },
        ],
    },
}
