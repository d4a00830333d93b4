"""Reading one component file key by key."""

import pytest

from apps.core.yaml_files import parse_document
from apps.packs.components import Component, ComponentFile, FaultyComponent, title


def component(text, path="actions/check_port.yaml"):
    document = parse_document(text)
    return Component(file=ComponentFile(path=path, data=document.value, key_lines=document.key_lines), pack_ref="lab")


@pytest.mark.parametrize(
    ("text", "ref", "label"),
    [
        ("description: x", "lab.check_port", "Check Port"),
        ("name: echo", "lab.echo", "Echo"),
        ("ref: short", "lab.short", "Check Port"),
        ("ref: lab.full\nlabel: As it is", "lab.full", "As it is"),
        ("ref: other.full\nname: x_y", "other.full", "X Y"),
        ("[]", "lab.check_port", None),
    ],
)
def test_ref_and_label(text, ref, label):
    found = component(text)

    assert found.ref == ref
    if label is not None:
        assert found.label == label


def test_references_get_the_prefix_of_the_pack():
    assert [component("{}").full_ref(ref) for ref in ("check", "core.echo")] == ["lab.check", "core.echo"]


@pytest.mark.parametrize(
    ("text", "read", "message"),
    [
        ("a: 5", lambda c: c.text("a"), "a must be a text"),
        ("a: yes", lambda c: c.integer("a"), "a must be a whole number"),
        ("a: 1.5", lambda c: c.integer("a"), "a must be a whole number"),
        ("a: 1", lambda c: c.flag("a"), "a must be true or false"),
        ("a: []", lambda c: c.mapping("a"), "a must be a mapping"),
        ("a: {}", lambda c: c.listing("a"), "a must be a list"),
        ("a: [1]", lambda c: c.texts("a"), "a must be a list of texts"),
        ("a: []", lambda c: c.schema("a"), "a must be a mapping"),
    ],
)
def test_a_wrong_type_names_the_key(text, read, message):
    with pytest.raises(FaultyComponent) as caught:
        read(component(text))

    assert (caught.value.message, caught.value.key) == (message, "a")


def test_absent_and_null_keys_take_the_default():
    found = component("a: null")

    assert (found.text("a"), found.text("b", "x"), found.flag("a", True), found.integer("a", 3)) == (
        None,
        "x",
        True,
        3,
    )
    assert (found.mapping("a"), found.texts("b"), found.schema("a")) == ({}, [], None)


def test_a_file_that_holds_no_mapping_is_faulty():
    with pytest.raises(FaultyComponent, match="must hold a mapping"):
        component("- a").text("x")


def test_titles_keep_capitals():
    assert [title(name) for name in ("check_port", "Check TCP port", "a-b.c", "")] == [
        "Check Port", "Check TCP Port", "A B C", "",
    ]  # fmt: skip
