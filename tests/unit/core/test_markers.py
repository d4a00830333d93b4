"""Markers in the places of secrets (auth.md section 10)."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from apps.core.markers import MARKER, holds_marker, is_marker, marked, path_of, pointer, restored

keys = st.text(alphabet="ab/~0", max_size=3)
documents = st.recursive(
    st.integers() | st.text(max_size=3) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=12,
)


def paths_in(document: Any) -> list[list[str | int]]:
    found: list[list[str | int]] = []
    children = document.items() if isinstance(document, dict) else enumerate(document)
    for step, child in children:
        found.append([step])
        if isinstance(child, dict | list):
            found += [[step, *rest] for rest in paths_in(child)]
    return found


@given(document=st.lists(documents, max_size=3) | st.dictionaries(keys, documents, max_size=3), data=st.data())
def test_what_was_taken_out_comes_back(document: Any, data: st.DataObject) -> None:
    places = paths_in(document)
    chosen = data.draw(st.lists(st.sampled_from(places), max_size=4)) if places else []

    shown, values = marked(document, chosen)

    assert restored(shown, values) == document
    assert holds_marker(shown) == bool(values)
    for path in chosen:
        assert path_of(pointer(path), document) == path


def test_only_the_places_of_markers_are_filled() -> None:
    values = {"/a": "secret", "/gone": "other", "/list/7": "beyond"}

    assert restored({"a": "changed since", "list": []}, values) == {"a": "changed since", "list": []}
    assert restored({"a": dict(MARKER), "list": []}, values) == {"a": "secret", "list": []}


def test_null_and_markers_are_no_values() -> None:
    document = {"a": None, "b": dict(MARKER)}

    assert marked(document, [("a",), ("b",), ("c",)]) == (document, {})
    assert is_marker(document["b"])
    assert not is_marker({"$attune_secret": False})


def test_the_document_given_is_left_alone() -> None:
    document = {"db": {"password": "secret", "host": "db1"}}

    shown, values = marked(document, [("db", "password")])

    assert document["db"]["password"] == "secret"
    assert (shown["db"], values) == ({"password": dict(MARKER), "host": "db1"}, {"/db/password": "secret"})
