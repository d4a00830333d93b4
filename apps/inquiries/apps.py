from django.apps import AppConfig
from django.db.models.signals import post_delete


class InquiriesConfig(AppConfig):
    name = "apps.inquiries"

    def ready(self) -> None:
        from apps.core import rounds  # models are ready only now
        from apps.executions import engines
        from apps.executions.signals import execution_finished
        from apps.identity.audit import chains
        from apps.inquiries import answers, audited, deadlines, receivers, visibility
        from apps.inquiries.engine import InquiryEngine
        from apps.inquiries.models import Inquiry

        engines.register(engines.INQUIRY, InquiryEngine())
        execution_finished.connect(receivers.on_execution_finished, dispatch_uid="inquiries.execution_finished")
        post_delete.connect(answers.forget_answer, sender=Inquiry, dispatch_uid="inquiries.forget_answer")
        chains.register("inquiry", audited.links_above)
        rounds.register(
            rounds.Round(name="inquiries", work=deadlines.expire_due, next_due=deadlines.next_due, every_seconds=1.0)
        )
        visibility.describe()
