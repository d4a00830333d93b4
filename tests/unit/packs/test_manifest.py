"""pack.yaml."""

import pytest

from apps.core.errors import AttuneError
from apps.core.yaml_files import parse_document
from apps.packs.manifest import read_manifest


def manifest(text):
    return read_manifest(parse_document(text))


def test_the_usual_and_the_other_names_of_keys():
    usual = manifest(
        "ref: netops\nname: Network\nversion: 1.4.0\ndescription: d\nconfig_schema: {a: {type: string}}\n"
        "metadata: {m: 1}\nkeywords: [x]\ndependencies: [core]\nruntime_deps: ['python3>=3.11']\npreload: [json]\n"
        "config: {a: b}\ntesting: {enabled: true}"
    )
    other = manifest("ref: netops\nlabel: Network\nversion: 1.4.0\nconf_schema: {a: {}}\nmeta: {m: 1}\ntags: [x, 2]")

    assert (usual.label, usual.conf_schema, usual.meta, usual.tags) == (
        "Network", {"a": {"type": "string"}}, {"m": 1}, ["x"],
    )  # fmt: skip
    assert (usual.dependencies, usual.runtime_deps, usual.preload) == (["core"], ["python3>=3.11"], ["json"])
    assert (usual.config, usual.testing, usual.warnings) == ({"a": "b"}, {"enabled": True}, [])
    assert (other.label, other.conf_schema, other.meta, other.tags) == ("Network", {"a": {}}, {"m": 1}, ["x", "2"])
    assert (other.config, other.description) == (None, None)


def test_the_label_is_the_ref_when_nothing_else_is_said():
    assert manifest("ref: netops\nversion: 1.0.0-rc.1+b5").label == "netops"


@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        ("[]", 400, "pack.yaml must hold a mapping"),
        ("", 400, "pack.yaml must hold a mapping"),
        ("version: 1.0.0", 400, "pack.yaml has no 'ref'"),
        ("ref: lab", 400, "pack.yaml has no 'version'"),
        ("ref: lab\nversion: 1.0", 400, "pack.yaml: 'version' must be a text"),
        ("ref: lab\nversion: '1.0'", 422, "pack.yaml: version: Version '1.0' is not a semantic version (X.Y.Z)."),
        ("ref: Lab\nversion: 1.0.0", 422, "pack.yaml: ref: Ref 'Lab' must be lower case."),
    ],
)
def test_without_a_usable_ref_and_version_there_is_no_pack(text, status, message):
    with pytest.raises(AttuneError) as caught:
        manifest(text)

    assert (caught.value.status, caught.value.message) == (status, message)


@pytest.mark.parametrize("ref", ["l", "1ab", "a.b", "a b", "../x", "a/b", "-ab", "a" * 256])
def test_a_ref_that_could_be_a_path_is_refused(ref):
    with pytest.raises(AttuneError) as caught:
        manifest(f"ref: '{ref}'\nversion: 1.0.0")

    assert caught.value.status == 422


def test_a_value_of_the_wrong_type_is_left_out_with_a_warning():
    found = manifest("ref: lab\nversion: 1.0.0\ntags: x\nconfig_schema: [1]\ndescription: {a: b}")

    assert (found.tags, found.conf_schema, found.description) == ([], {}, None)
    assert sorted(found.warnings, key=lambda warning: -(warning["line"] or 0)) == [
        {"file": "pack.yaml", "line": 5, "message": "description must be a text; it is left out"},
        {"file": "pack.yaml", "line": 4, "message": "config_schema must be a mapping; it is left out"},
        {"file": "pack.yaml", "line": 3, "message": "tags must be a list; it is left out"},
    ]
