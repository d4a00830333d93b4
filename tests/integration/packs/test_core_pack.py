"""The core pack as it is loaded at the start."""

import pytest

from apps.actions.models import Action
from apps.identity.models import PermissionSet
from apps.packs.models import Pack
from apps.packs.services import load_core_pack, pack_directory
from apps.workers.models import Runtime, RuntimeVersion

pytestmark = pytest.mark.django_db


def test_everything_is_loaded_without_a_warning(settings):
    pack = load_core_pack()

    assert (pack.ref, pack.version, pack.label, pack.is_standard, pack.warnings) == (
        "core", "1.0.0", "Core Pack", True, [],
    )  # fmt: skip
    assert pack_directory(pack) == settings.CORE_PACK_DIR
    assert list(Action.objects.values_list("ref", flat=True)) == [
        "core.ask", "core.echo", "core.http_request", "core.noop", "core.sleep",
    ]  # fmt: skip
    assert list(Runtime.objects.filter(pack=pack).values_list("ref", flat=True)) == [
        "core.go", "core.java", "core.native", "core.nodejs", "core.perl", "core.python", "core.r", "core.ruby",
        "core.shell",
    ]  # fmt: skip
    assert list(PermissionSet.objects.filter(pack=pack.pk).values_list("ref", flat=True)) == [
        "core.admin", "core.editor", "core.executor", "core.owner", "core.viewer",
    ]  # fmt: skip
    versions = RuntimeVersion.objects.order_by("runtime_ref", "id").values_list("runtime_ref", "version", "is_default")
    assert list(versions) == [
        ("core.nodejs", "18", False), ("core.nodejs", "20", True), ("core.nodejs", "22", False),
        ("core.python", "3.11", False), ("core.python", "3.12", True), ("core.python", "3.13", False),
    ]  # fmt: skip


def test_loading_again_changes_nothing_and_asks_one_thing(django_assert_num_queries):
    first = load_core_pack()

    with django_assert_num_queries(1):
        second = load_core_pack()

    assert (second.pk, second.updated) == (first.pk, first.updated)


def test_a_new_version_of_the_product_brings_it_up_to_date():
    pack = load_core_pack()
    echo = Action.objects.get(ref="core.echo")
    Action.objects.filter(pk=echo.pk).update(label="Changed by hand")
    Pack.objects.filter(pk=pack.pk).update(checksum="of another version")

    load_core_pack()

    assert Action.objects.get(ref="core.echo").label == "Echo"
    assert Action.objects.get(ref="core.echo").pk == echo.pk


def test_what_the_administrator_was_given_stays_assigned():
    before = PermissionSet.objects.create(ref="core.admin", label="Made at the first start")

    load_core_pack()

    after = PermissionSet.objects.get(ref="core.admin")
    assert (after.pk, after.label) == (before.pk, "Administrator")
    assert after.pack == Pack.objects.get(ref="core").pk
