import pytest

from apps.core import refs


@pytest.mark.parametrize("ref", ["ab", "core", "test_1700000000000_ab12cd34", "a-b_c9", "a" * 255])
def test_pack_ref_of_the_pattern_is_accepted(ref):
    assert refs.ref_problem(refs.validate_pack_ref, ref) is None


@pytest.mark.parametrize("ref", ["a", "", "Core", "1core", "_core", "co.re", "co re", "core\n", "cöre", "a" * 256])
def test_pack_ref_off_the_pattern_is_refused(ref):
    assert refs.ref_problem(refs.validate_pack_ref, ref) is not None


@pytest.mark.parametrize("ref", ["core.echo", "1.2", "ü.é", "a_b-c.d_e-f"])
def test_component_ref_with_one_dot_is_accepted(ref):
    assert refs.ref_problem(refs.validate_component_ref, ref) is None


@pytest.mark.parametrize(
    "ref",
    [
        "core",
        ".echo",
        "core.",
        "a.b.c",
        "Core.echo",
        "core.e cho",
        "core.e/cho",
        "core.e\\cho",
        "core.\x01",
        "core.echo\n",
    ],
)
def test_component_ref_without_exactly_one_dot_or_with_odd_characters_is_refused(ref):
    assert refs.ref_problem(refs.validate_component_ref, ref) is not None


@pytest.mark.parametrize(
    ("ref", "good"), [("a", True), ("a.b.c", True), ("a..b", False), (".a", False), ("A.b", False)]
)
def test_key_ref_is_segments_between_dots(ref, good):
    assert (refs.ref_problem(refs.validate_key_ref, ref) is None) is good


@pytest.mark.parametrize(("ref", "good"), [("mail", True), ("shop.mail", True), ("a.b.c", False), ("", False)])
def test_queue_ref_has_one_or_two_segments(ref, good):
    assert (refs.ref_problem(refs.validate_queue_ref, ref) is None) is good


@pytest.mark.parametrize(("ref", "good"), [("Report / March", True), ("  ", False), ("", False), ("a\nb", False)])
def test_artifact_ref_is_any_text_that_is_not_blank(ref, good):
    assert (refs.ref_problem(refs.validate_artifact_ref, ref) is None) is good


@pytest.mark.parametrize(
    ("version", "good"),
    [
        ("1.0.0", True),
        ("1.2.3-rc.1+build.5", True),
        ("1.0", False),
        ("v1.0.0", False),
        ("01.0.0", False),
        ("1.0.0\n", False),
    ],
)
def test_version_is_strictly_semantic(version, good):
    assert (refs.ref_problem(refs.validate_version, version) is None) is good
