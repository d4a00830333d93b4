"""
The OpenAPI document against the API: schemathesis makes the requests, the document says what may come back.

Seeded and short. To look for longer, or elsewhere: ATTUNE_TESTS_SEED=7 ATTUNE_TESTS_EXAMPLES=100 (how many requests each
generator makes of each operation), with ``--timeout 0``.
"""

import contextlib
import json
import os
import random
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import hypothesis
import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connection, transaction
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.core.failures import FailureGroup
from schemathesis.schemas import APIOperation, BaseSchema

from apps.identity import tokens
from attune import openapi
from tests.factories import grant, make_admin, make_holder
from tests.paths import Named

SEED = int(os.environ.get("ATTUNE_TESTS_SEED", "1"))
EXAMPLES = int(os.environ.get("ATTUNE_TESTS_EXAMPLES", "1"))
# The boundaries of every parameter and member, one at a time, are thousands of requests: those of some are tried.
BOUNDARIES = EXAMPLES * 10
# Something at random takes a quarter of a second to think up; so only some operations get it, when it must be short.
AT_RANDOM = 1 if EXAMPLES > 1 else 0.1
# Said in the contract: 501 until they are configured or built.
NOT_YET = {"/auth/callback", "/auth/oidc/login", "/auth/ldap/login"}
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
    "response_headers_conformance",
)  # fmt: skip
SHORT = hypothesis.settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=[hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck),
)


@pytest.fixture
def application() -> Iterator[Any]:
    """The product as a WSGI application on the test's own connection, as Django's test client has it."""
    from attune.wsgi import application as product

    def answer_whole(environ: Any, start_response: Any) -> list[bytes]:
        answer = product(environ, start_response)
        try:
            return [b"".join(answer)]
        finally:
            answer.close()

    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield answer_whole
    for signal in signals:
        signal.connect(close_old_connections)


@pytest.fixture
def schema(application: Any, settings: Any, tmp_path: Any) -> BaseSchema:
    settings.ARTIFACTS_DIR = tmp_path
    load_all_checks()
    found = schemathesis.openapi.from_dict(json.loads(openapi.document()), config=schemathesis.Config())
    found.app = application
    found.config.update(base_url="http://localhost")
    found.config.generation.update(with_security_parameters=False)
    found.config.checks.update(included_check_names=list(CHECKS))
    found.config.phases.coverage.unexpected_methods = set()
    return found


@pytest.fixture
def callers(db: None) -> list[dict[str, str]]:
    """The headers of an administrator, three times out of four, and of somebody with few rights."""
    few = make_holder("core.executor", grant("keys:read", "keys:update", refs=["x"]))
    people = [*[make_admin()] * 3, few]
    return [{"Authorization": f"Bearer {tokens.mint_access_token(each.pk, each.login)}"} for each in people]


class Borrower:
    """Puts the names of real rows into most requests: what names nothing gets no further than "not found"."""

    def __init__(self, named: Named) -> None:
        self.named, self.dice = named, random.Random(SEED)

    def improve(self, case: Case, *, paths: bool = True) -> None:
        for parameter in case.path_parameters if paths else ():
            if (values := self.named.candidates(case.path, parameter)) and self.dice.random() < 0.9:
                case.path_parameters[parameter] = self.dice.choice(values)
        for member in case.body if isinstance(case.body, dict) else ():
            if member in self.named.members and self.dice.random() < 0.7:
                case.body[member] = self.dice.choice(self.named.members[member])
        if case.query:
            case.query.pop("wait", None)
        if self.dice.random() < 0.9:
            case.headers.pop("Idempotency-Key", None)


def operations(schema: BaseSchema) -> list[APIOperation]:
    return [found.ok() for found in schema.get_all_operations()]


def at_boundaries(schema: BaseSchema, operation: APIOperation, dice: random.Random) -> list[Case]:
    """Return some of the requests at the boundaries of what the document allows of one operation."""
    made = schema.iter_coverage_cases(
        operation, generation_modes=list(GenerationMode), generation_config=schema.config.generation
    )
    found = list(islice(made, 80 * EXAMPLES))
    return dice.sample(found, min(len(found), BOUNDARIES))


def at_random(operation: APIOperation, mode: GenerationMode, use: Callable[[Case], None]) -> None:
    @hypothesis.seed(SEED)
    @SHORT
    @hypothesis.given(case=operation.as_strategy(mode))
    def run(case: Case) -> None:
        use(case)

    with contextlib.suppress(Unsatisfiable):  # nothing can be wrong with it
        run()


def told(case: Case, answer: Any, why: object) -> str:
    return f"{case.as_curl_command()[:1500]}\n -> {answer.status_code} {answer.content[:300]!r}\n {str(why)[:500]}"


@pytest.mark.django_db
@pytest.mark.timeout(600)  # a machine that is busy with other things thinks slowly
def test_every_answer_is_as_the_document_says(schema, callers):
    dice, borrower = random.Random(SEED), Borrower(Named())
    wrong: list[str] = []

    def send(case: Case) -> None:
        borrower.improve(case)
        with transaction.atomic():
            answer = case.call(headers=dice.choice(callers))
            if case.method != "GET" and answer.status_code < 300:
                connection.check_constraints()  # what a commit would find
            transaction.set_rollback(True)
        if answer.status_code == 501 and case.path in NOT_YET:
            return
        try:
            case.validate_response(answer)
        except FailureGroup as failures:
            wrong.extend(told(case, answer, each) for each in failures.exceptions)

    for operation in operations(schema):
        for case in at_boundaries(schema, operation, dice):
            send(case)
        for mode in GenerationMode:
            if dice.random() < AT_RANDOM:
                at_random(operation, mode, send)
    assert not wrong, "\n\n".join(wrong[:20])


@pytest.mark.django_db
@pytest.mark.timeout(600)
def test_one_request_after_another_is_answered(schema, callers):
    """What one answer names the next request asks for, changes and deletes."""
    named, done = Named(), set()

    class Sequence(schema.as_state_machine()):  # type: ignore[misc]  # made at run time
        def setup(self) -> None:
            self.borrower = Borrower(named)
            self.atomic = transaction.atomic()
            self.atomic.__enter__()

        def teardown(self) -> None:
            transaction.set_rollback(True)  # each begins with the same rows
            self.atomic.__exit__(None, None, None)

        def before_call(self, case: Case) -> None:
            self.borrower.improve(case, paths=False)

        def get_call_kwargs(self, case: Case) -> dict[str, Any]:
            return {"headers": callers[0]}

        def validate_response(self, response: Any, case: Case, *_more: Any, **_options: Any) -> None:
            if response.status_code != 501 or case.path not in NOT_YET:
                case.validate_response(response)
            done.add((case.operation.label, response.status_code))

    settings = hypothesis.settings(SHORT, max_examples=EXAMPLES * 40, stateful_step_count=8)
    hypothesis.seed(SEED)(Sequence)
    Sequence.run(settings=settings)
    assert len({label for label, status in done if status < 300}) >= 5
