"""Secrets in the config of a pack (auth.md section 10)."""

from typing import Any

import pytest

from apps.core.cipher import Cipher
from apps.core.markers import MARKER
from apps.keys import secret_store
from apps.keys.models import SecretValue
from apps.packs.models import Pack
from apps.packs.secrets import real_config
from apps.packs.services import register_pack
from apps.rules.views import view_of_rule
from tests.clients import signed_in
from tests.factories import make_pack, make_rule

pytestmark = pytest.mark.django_db

PACKS = "/api/v1/packs"
SECRET = "hush-4711-hush"
SCHEMA = {
    "token": {"type": "string", "secret": True},
    "url": {"type": "string"},
    "login": {"type": "object", "properties": {"user": {"type": "string"}, "password": {"secret": True}}},
}
CONFIG = {"token": SECRET, "url": "https://x", "login": {"user": "u", "password": f"{SECRET}-2"}}
SHOWN = {"token": MARKER, "url": "https://x", "login": {"user": "u", "password": MARKER}}


@pytest.fixture
def api(db: None) -> Any:
    return signed_in()


def create(api: Any, **changes: Any) -> Any:
    return api.post(
        PACKS,
        {"ref": "shop", "label": "Shop", "version": "1.0.0", "conf_schema": SCHEMA, "config": CONFIG, **changes},
    )


def put(api: Any, **changes: Any) -> Any:
    return api.put(f"{PACKS}/shop", changes)


def pack() -> Pack:
    return Pack.objects.get(ref="shop")


def test_the_row_holds_markers_and_the_values_are_encrypted(api: Any) -> None:
    created = create(api)
    read = api.get(f"{PACKS}/shop")

    assert [answer.json()["data"]["config"] for answer in (created, read)] == [SHOWN, SHOWN]
    assert (pack().config, real_config(pack())) == (SHOWN, CONFIG)
    assert secret_store.get("pack_config", pack().pk) == {"/token": SECRET, "/login/password": f"{SECRET}-2"}
    assert "4711" not in str([*SecretValue.objects.values(), *Pack.objects.values()])


def test_a_marker_keeps_what_it_stands_for(api: Any) -> None:
    create(api)

    answer = put(api, config={**SHOWN, "url": "https://y", "token": "new-4712"})

    assert (answer.status_code, answer.json()["data"]["config"]) == (200, {**SHOWN, "url": "https://y"})
    assert real_config(pack()) == {**CONFIG, "url": "https://y", "token": "new-4712"}
    put(api, config={"url": "https://z", "login": {"password": MARKER}})
    assert real_config(pack()) == {"url": "https://z", "login": {"password": f"{SECRET}-2"}}
    assert SecretValue.objects.count() == 1


def test_a_marker_that_stands_for_nothing_is_refused(api: Any) -> None:
    assert create(api, config={"token": MARKER}).status_code == 422
    create(api)

    for config in ({"url": MARKER}, {"token": {"deep": MARKER}}):
        answer = put(api, config=config)
        assert (answer.status_code, answer.json()["details"][0]["field"]) == (422, "config")
    assert real_config(pack()) == CONFIG


def test_another_schema_hides_more_and_reveals_nothing(api: Any) -> None:
    create(api)

    opened = put(api, conf_schema={"url": {"type": "string"}})
    assert opened.json()["data"]["config"] == SHOWN
    hidden = put(api, conf_schema={"url": {"secret": True}, "login": {"type": "object", "secret": True}})

    assert hidden.json()["data"]["config"] == {"token": MARKER, "url": MARKER, "login": MARKER}
    assert real_config(pack()) == CONFIG
    again = put(api, conf_schema=SCHEMA, config={**CONFIG, "url": "https://new"})
    assert again.json()["data"]["config"] == {**SHOWN, "url": "https://new"}


def test_a_registered_pack(api: Any, tmp_path: Any) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    manifest = "ref: shop\nlabel: Shop\nversion: 1.0.0\nconfig:\n  token: hush-4711-hush\n  url: x\nconfig_schema:\n"
    (folder / "pack.yaml").write_text(manifest + "  token:\n    secret: true\n")
    register_pack(folder)
    assert (pack().config, real_config(pack())) == ({"token": MARKER, "url": "x"}, {"token": SECRET, "url": "x"})

    (folder / "pack.yaml").write_text(manifest + "  url:\n    secret: true\n")
    register_pack(folder, force=True)

    assert (pack().config, real_config(pack())) == ({"token": MARKER, "url": MARKER}, {"token": SECRET, "url": "x"})


def test_what_is_kept_goes_with_the_pack(api: Any) -> None:
    create(api)

    assert api.delete(f"{PACKS}/shop").status_code == 200
    assert not SecretValue.objects.exists()


def test_plain_secrets_in_the_row_are_not_shown_and_work(api: Any) -> None:
    plain = make_pack(ref="shop", conf_schema=SCHEMA, config=CONFIG)

    assert api.get(f"{PACKS}/shop").json()["data"]["config"] == SHOWN
    assert real_config(plain) == CONFIG
    put(api, config=SHOWN | {"token": "new-4712", "login": {"password": "x-4712"}})
    assert real_config(pack()) == {"token": "new-4712", "url": "https://x", "login": {"password": "x-4712"}}


def test_rules_see_the_values_and_know_which_are_secret(api: Any) -> None:
    create(api)
    rule = make_rule(pack=pack())

    view = view_of_rule(rule)
    assert (view.pack_config, view.secret_config) == (CONFIG, {"token", "login"})

    stranger = Cipher("another key string of forty characters!!")
    SecretValue.objects.update(encrypted_value=stranger.encrypt("x"), encryption_key_hash=stranger.key_id)
    assert view_of_rule(rule).pack_config == {"url": "https://x"}
    assert put(api, config={**SHOWN, "url": "y"}).status_code == 409
    assert put(api, config=CONFIG).status_code == 200
    assert real_config(pack()) == CONFIG
