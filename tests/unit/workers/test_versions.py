"""Versions and version ranges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.workers.versions import InvalidConstraint, check_constraint, highest, parse_version, satisfies

numbers = st.integers(0, 50)
versions = st.tuples(numbers, numbers, numbers)


def text(version: tuple[int, ...]) -> str:
    return ".".join(str(number) for number in version)


@pytest.mark.parametrize(
    ("version", "constraint", "holds"),
    [
        ("3.12.4", ">=3.12,<4.0", True),
        ("4.0.0", ">=3.12,<4.0", False),
        ("3.11.9", ">=3.12,<4.0", False),
        ("3.12.4", ">= 3.12, < 4", True),
        ("3.12.4", ">=3.12 <4", True),
        ("18.0.5", "~18.0", True),
        ("18.1.0", "~18.0", False),
        ("18.9.0", "~18", True),
        ("1.2.9", "~1.2.3", True),
        ("1.3.0", "~1.2.3", False),
        ("1.5.0", "~=1.4", True),
        ("2.0.0", "~=1.4", False),
        ("1.4.9", "~=1.4.2", True),
        ("1.5.0", "~=1.4.2", False),
        ("1.9.0", "^1.2", True),
        ("2.0.0", "^1.2", False),
        ("0.2.9", "^0.2.3", True),
        ("0.3.0", "^0.2.3", False),
        ("0.0.4", "^0.0.3", False),
        ("0.9.0", "^0", True),
        ("3.12.7", "3.12", True),
        ("3.12.7", "==3.12", True),
        ("3.12.7", "=3.12.6", False),
        ("3.13.0", "3.12", False),
        ("1.5.0", "1.x", True),
        ("1.5.0", "1.5.*", True),
        ("3.12.5", ">3.12", False),
        ("3.13.0", ">3.12", True),
        ("3.12.5", ">3.12.4", True),
        ("3.12.5", "<=3.12", True),
        ("3.13.0", "<=3.12", False),
        ("1.2.3", "!=1.2", False),
        ("1.3.0", "!=1.2", True),
        ("20.1.0", "^18 || ^20", True),
        ("19.1.0", "^18 || ^20", False),
        ("v20.11.1", ">=20", True),
        ("3.12", ">=3.12.0", True),
        ("3.12", ">=3.12.1", False),
        ("21.0.1+12", ">=21", True),
        ("1.2.3", "*", True),
        ("1.2.3", "", True),
        ("nobody knows", "*", True),
        ("nobody knows", ">=1", False),
        ("1.2.3", ">>1", False),
        ("1.2.3", "~", False),
        ("1.2.3", "latest", False),
        # A pre-release comes before its release, and the upper end leaves out its own.
        ("3.14.0rc1", ">=3.13", True),
        ("3.14.0rc1", ">=3.14", False),
        ("4.0.0rc1", "<4.0", False),
        ("4.0.0-rc.1", "^3.12", False),
        ("1.0.0-rc.2", ">1.0.0-rc.1,<1.0.0-rc.10", True),
        ("1.0.0-rc.1", "1.0.0-rc.1", True),
    ],
)
def test_satisfies(version, constraint, holds):
    assert satisfies(version, constraint) is holds


@pytest.mark.parametrize("constraint", [">>1", "~", "latest", ">=1,<", "1.2.3.4.5", "==", "a || b"])
def test_check_constraint_refuses_what_is_no_range(constraint):
    with pytest.raises(InvalidConstraint, match="is not a version range"):
        check_constraint(constraint)


@given(versions, versions)
def test_bounds_agree_with_the_order_of_numbers(version, bound):
    assert satisfies(text(version), f">={text(bound)}") is (version >= bound)
    assert satisfies(text(version), f">{text(bound)}") is (version > bound)
    assert satisfies(text(version), f"<={text(bound)}") is (version <= bound)
    assert satisfies(text(version), f"<{text(bound)}") is (version < bound)
    assert satisfies(text(version), f"=={text(bound)}") is (version == bound)
    assert satisfies(text(version), f"!={text(bound)}") is (version != bound)


@given(versions, st.integers(1, 2).flatmap(lambda n: st.tuples(*[numbers] * n)))
def test_shorter_ranges_stand_for_all_that_begin_so(version, beginning):
    begins = version[: len(beginning)] == beginning
    assert satisfies(text(version), text(beginning)) is begins
    assert satisfies(text(version), f"!={text(beginning)}") is not begins
    assert satisfies(text(version), f"<={text(beginning)}") is (version < beginning or begins)
    assert satisfies(text(version), f">{text(beginning)}") is (version > beginning and not begins)


@given(versions, versions)
def test_caret_and_tilde_hold_for_their_own_version_and_never_below(version, base):
    for operator in "^~":
        assert satisfies(text(base), f"{operator}{text(base)}")
        if version < base or version[0] > base[0]:
            assert not satisfies(text(version), f"{operator}{text(base)}")
    if base <= version and version[:2] == base[:2]:
        assert satisfies(text(version), f"~{text(base)}")


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_text_is_answered(version, constraint):
    assert satisfies(version, constraint) in (True, False)


@given(st.lists(versions, max_size=8))
def test_highest_is_the_greatest(found):
    expected = text(max(found)) if found else None
    assert highest([text(version) for version in found]) == expected


def test_highest_within_a_range():
    assert highest(["3.9.1", "3.11.2", "3.12.4", "3.13.0rc1", "odd"], "<3.13") == "3.12.4"
    assert highest(["3.9.1"], ">=4") is None


def test_parse_version_keeps_how_much_was_written():
    assert parse_version("3.12").parts == (3, 12)
    assert parse_version("openjdk") is None
