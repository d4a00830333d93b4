from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_delete, post_migrate, post_save


def forget_rows(**_signal: Any) -> None:
    """Forget what this process keeps of rules: the tables may have been emptied (``manage.py flush``)."""
    from apps.events.execution_news import forget_audience  # models are ready only now
    from apps.rules import views

    views.forget_rules()
    forget_audience()


class RulesConfig(AppConfig):
    name = "apps.rules"

    def ready(self) -> None:
        from apps.events.rule_port import rule_port  # models are ready only now
        from apps.events.signals import event_stored
        from apps.executions.signals import execution_finished
        from apps.identity.audit import chains
        from apps.packs.registry import register_loader
        from apps.rules import audited, changes_below, receivers, visibility
        from apps.rules.loader import RuleLoader
        from apps.rules.lookup import RuleLookup
        from apps.rules.models import Rule

        event_stored.connect(receivers.on_event_stored, dispatch_uid="rules.event_stored")
        execution_finished.connect(receivers.on_execution_finished, dispatch_uid="rules.execution_finished")
        for signal in (post_save, post_delete):
            signal.connect(receivers.on_rule_changed, sender=Rule, dispatch_uid="rules.changed")
        post_migrate.connect(forget_rows, sender=self, dispatch_uid="rules.forget_rows")
        changes_below.connect()
        rule_port.register(RuleLookup())
        chains.register("enforcement", audited.links_above)
        register_loader(RuleLoader())
        visibility.describe()
