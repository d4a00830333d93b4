"""
Versions and the ranges that actions ask for: ``>=3.12,<4.0``, ``~18.0``, ``^1.2``, ``==3.12``, ``3.12``, ``*``.

A range that names fewer than three parts stands for all versions that begin so: ``3.12`` holds for 3.12.7, ``>3.12``
begins at 3.13 and ``<=3.12`` ends before it. Parts are joined by commas or blanks (all must hold) and by ``||`` (one
must). A pre-release comes before its release, and an upper bound leaves out its own pre-releases.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

_VERSION = re.compile(
    r"v?(?P<parts>\d{1,9}(?:\.\d{1,9}){0,3})"
    r"(?:(?:-|[._]?(?=[A-Za-z]))(?P<pre>[0-9A-Za-z][0-9A-Za-z.\-]*))?"
    r"(?:\+[0-9A-Za-z.\-]*)?",
    re.IGNORECASE,
)
_COMPARISON = re.compile(r"(?P<operator>\^|~=|~>|~|===|==|=|!=|>=|<=|>|<)?\s*(?P<version>[0-9A-Za-z.*+\-]+)")
_ANY = frozenset({"*", "x", "any"})

_Identifiers = tuple[tuple[int, int, str], ...]
# Major, minor, patch, then: -1 below everything of that number, 0 with identifiers a pre-release, 1 the release.
_Key = tuple[int, int, int, int, _Identifiers]
_Test = Callable[[_Key], bool]


class InvalidConstraint(ValueError):
    """The text is not a version range."""


@dataclass(frozen=True, kw_only=True)
class Version:
    """A version as read; ``parts`` has as many numbers as were written, at most three."""

    parts: tuple[int, ...]
    key: _Key


def parse_version(text: str) -> Version | None:
    """Return the version a text holds, or None when it is none."""
    found = _VERSION.fullmatch(text.strip())
    if found is None:
        return None
    parts = tuple(int(part) for part in found["parts"].split("."))[:3]
    major, minor, patch = (*parts, 0, 0)[:3]
    pre = found["pre"]
    key: _Key = (major, minor, patch, 0, _identifiers(pre)) if pre else (major, minor, patch, 1, ())
    return Version(parts=parts, key=key)


def _identifiers(pre: str) -> _Identifiers:
    """Order the parts of a pre-release as semantic versioning does: numbers first, by value, then words."""
    words = re.findall(r"\d+|[A-Za-z]+", pre)
    return tuple((0, int(word), "") if word.isdigit() else (1, 0, word.lower()) for word in words)


def satisfies(version: str, constraint: str) -> bool:
    """Return True when the version lies in the range; an unreadable version or range holds for nothing."""
    parsed = parse_version(version)
    try:
        alternatives = _parsed(constraint)
    except InvalidConstraint:
        return False
    if parsed is None:
        return any(not tests for tests in alternatives)  # "*" takes a version nobody can read too
    return any(all(test(parsed.key) for test in tests) for tests in alternatives)


def highest(versions: Iterable[str], constraint: str = "*") -> str | None:
    """Return the highest of the versions that lies in the range, or None."""
    fitting = [
        (parsed.key, text) for text in versions if (parsed := parse_version(text)) and satisfies(text, constraint)
    ]
    return max(fitting)[1] if fitting else None


def check_constraint(constraint: str) -> None:
    """Raise InvalidConstraint, with a sentence for people, when the text is no version range."""
    _parsed(constraint)


@lru_cache(maxsize=1024)
def _parsed(constraint: str) -> tuple[tuple[_Test, ...], ...]:
    return tuple(tuple(_tests_of(alternative, constraint)) for alternative in constraint.split("||"))


def _tests_of(alternative: str, constraint: str) -> Iterable[_Test]:
    rest = alternative.strip().strip(",").strip()
    while rest:
        found = _COMPARISON.match(rest)
        if found is None:
            raise InvalidConstraint(f"{constraint!r} is not a version range such as >=3.12,<4.0 or ~18.0")
        yield from _comparison(found["operator"] or "==", found["version"], constraint)
        rest = rest[found.end() :].lstrip(", \t")


def _comparison(operator: str, text: str, constraint: str) -> Iterable[_Test]:
    if text.lower() in _ANY:
        return
    wildcard = re.sub(r"(\.(\*|x))+$", "", text, flags=re.IGNORECASE)
    parsed = parse_version(wildcard)
    if parsed is None:
        raise InvalidConstraint(f"{constraint!r} is not a version range: {text!r} is no version")
    low = parsed.key
    match operator:
        case "^":
            yield from _between(low, _before_next(parsed, _first_significant(parsed)))
        case "~" | "~>":
            yield from _between(low, _before_next(parsed, min(len(parsed.parts), 2) - 1))
        case "~=":  # as Python has it: the last number may grow
            yield from _between(low, _before_next(parsed, max(len(parsed.parts) - 2, 0)))
        case ">=":
            yield lambda key: key >= low
        case "<":
            bound = (*low[:3], -1, ()) if low[3] == 1 else low
            yield lambda key: key < bound
        case ">":
            after = _after(parsed)
            yield lambda key: key >= after and key != low
        case "<=":
            end = _after(parsed)
            yield lambda key: key < end or key == low
        case "!=":
            end = _after(parsed)
            yield lambda key: not (low <= key < end or key == low)
        case _:
            yield from _equal(parsed)


def _equal(version: Version) -> Iterable[_Test]:
    low = version.key
    if len(version.parts) == 3 or low[3] == 0:
        yield lambda key: key == low
        return
    yield from _between(low, _before_next(version, len(version.parts) - 1))


def _between(low: _Key, high: _Key) -> Iterable[_Test]:
    yield lambda key: low <= key < high


def _before_next(version: Version, position: int) -> _Key:
    """Return the bound below which the number at ``position`` has not grown."""
    numbers = list(version.key[:3])
    numbers[position] += 1
    numbers[position + 1 :] = [0] * (2 - position)
    major, minor, patch = numbers
    return (major, minor, patch, -1, ())


def _after(version: Version) -> _Key:
    """Return where the versions end that begin as this one is written; a full version ends with itself."""
    if len(version.parts) < 3 and version.key[3] == 1:
        return _before_next(version, len(version.parts) - 1)
    return version.key


def _first_significant(version: Version) -> int:
    """Return which number ``^`` keeps: the first that is not 0, else the last that was written."""
    for position, number in enumerate(version.parts):
        if number:
            return position
    return len(version.parts) - 1
