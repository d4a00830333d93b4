"""
The ways in which programs write a text: as it is, escaped for JSON, Python, a URL or a shell.

Each is a function of a text that treats every character by itself (its place may count at the very beginning), so that
the start of an escaped text is the escaped start of the text.
"""

import json
from collections.abc import Callable, Iterable
from functools import partial
from string import ascii_letters, digits

Escape = Callable[[str], bytes]

_ALPHANUMERIC = ascii_letters + digits
# All ways but "escape everything" leave such a text as it is.
PLAIN = frozenset(_ALPHANUMERIC + "-_.")


class _Table(dict[int, str]):
    """A table for ``str.translate`` that works each entry out when it is first needed."""

    def __init__(self, replace: Callable[[str], str]) -> None:
        super().__init__()
        self._replace = replace

    def __missing__(self, code: int) -> str:
        self[code] = self._replace(chr(code))
        return self[code]


def to_bytes(text: str) -> bytes:
    """Return UTF-8; lone surrogates, which JSON can hold, get the bytes they would have."""
    return text.encode("utf-8", "surrogatepass")


def from_bytes(data: bytes) -> str:
    """The way back of ``to_bytes``."""
    return data.decode("utf-8", "surrogatepass")


def _translated(table: _Table, text: str) -> bytes:
    return to_bytes(text.translate(table))


def _escape(replace: Callable[[str], str]) -> Escape:
    return partial(_translated, _Table(replace))


# JSON


def _unicode_escape(character: str, *, upper: bool = False) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    codes = (units[at : at + 2].hex() for at in range(0, len(units), 2))
    return "".join(f"\\u{code.upper() if upper else code}" for code in codes)


def _json(
    *, ascii_only: bool, upper: bool = False, long: str = "", slash: bool = False, control: bool = False
) -> Escape:
    """``long``: characters that are written as \\uXXXX though they need not be; ``control``: those have no short form."""

    def replace(character: str) -> str:
        if character in long or (control and (character < " " or character == "\x7f")):
            return _unicode_escape(character, upper=upper)
        if character == "/" and slash:
            return "\\/"
        if character >= "\x80":
            return _unicode_escape(character, upper=upper) if ascii_only else character
        written = json.dumps(character)[1:-1]
        return _unicode_escape(character, upper=upper) if written.startswith("\\u") else written

    return _escape(replace)


_JSON = _json(ascii_only=False)
_ASCII_JSON = _json(ascii_only=True)


def _json_twice(text: str) -> bytes:
    return _JSON(from_bytes(_JSON(text)))


def _ascii_json_twice(text: str) -> bytes:
    return _ASCII_JSON(from_bytes(_ASCII_JSON(text)))


JSON: tuple[Escape, ...] = (
    _JSON,
    _ASCII_JSON,
    _json(ascii_only=True, upper=True),
    _json(ascii_only=False, slash=True),
    _json(ascii_only=True, slash=True),  # PHP
    _json(ascii_only=False, long="<>&\u2028\u2029"),  # Go
    _json(ascii_only=True, upper=True, long="<>&"),  # safe inside of HTML
    _json(ascii_only=True, upper=True, long="\"'<>&+`"),  # .NET
    _json(ascii_only=True, upper=True, long="\"'<>&"),  # PHP, all flags
    _json(ascii_only=False, control=True),
    _json(ascii_only=True, control=True),
    _json_twice,
    _ascii_json_twice,
)

# A text inside of a JSON document, which is written in some way as a whole: in a shell's variable, in base64.
INSIDE_JSON: tuple[Escape, ...] = (_JSON, _ASCII_JSON)

# Python's and JavaScript's way to show a text


def _with_quote(show: Callable[[str], str]) -> Callable[[str], str]:
    return lambda character: "\\'" if character == "'" else show(character)


_SHOWN: tuple[Callable[[str], str], ...] = (
    lambda character: repr(character)[1:-1],
    lambda character: ascii(character)[1:-1],
    lambda character: repr(to_bytes(character))[2:-1],
)
SHOWN: tuple[Escape, ...] = (
    *(_escape(show) for show in _SHOWN),
    *(_escape(_with_quote(show)) for show in _SHOWN),
)

# URLs

_SAFE_IN_URLS = (
    "-_.~",  # RFC 3986: Python, curl, Go's queries
    "-_.~/",  # Python's default
    "-_.!~*'()",  # JavaScript's encodeURIComponent
    "-_.!~*'();/?:@&=+$,#",  # and encodeURI
    "*-._",  # forms: browsers, Java
    "-_.~$&+=:@",  # Go's paths
    "-_.~!$&'()*+,;=:@/",  # all that a path may hold
)


def _percent(safe: str, *, upper: bool, plus: bool) -> Escape:
    kept = frozenset(_ALPHANUMERIC + safe) if safe else frozenset[str]()

    def replace(character: str) -> str:
        if character in kept:
            return character
        if character == " " and plus:
            return "+"
        return "".join(f"%{byte:02X}" if upper else f"%{byte:02x}" for byte in to_bytes(character))

    return _escape(replace)


URL: tuple[Escape, ...] = tuple(
    _percent(safe, upper=upper, plus=plus)
    for safe in _SAFE_IN_URLS
    for upper in (True, False)
    for plus in (False, True)
)

# Shells

_BASH_SPECIAL = frozenset(" \t\n!\"$&'()*,;<>?[\\]^`{|}")
_DOLLAR_QUOTED = dict(zip("\a\b\x1b\f\n\r\t\v\\'", ["\\" + letter for letter in "abEfnrtv\\'"], strict=True))


def _replaced(old: str, new: str) -> Escape:
    return lambda text: to_bytes(text.replace(old, new))


def _bash_backslashes(text: str) -> bytes:
    """As bash's ``printf %q`` writes a text of one line."""
    written = text.translate(_BACKSLASHED)
    for sign in ":=":
        written = written.replace(f"{sign}~", f"{sign}\\~")
    return to_bytes("\\" + written if written.startswith(("#", "~")) else written)


_BACKSLASHED = _Table(lambda character: "\\" + character if character in _BASH_SPECIAL else character)


def _dollar_quoted(*, ascii_only: bool) -> Escape:
    """The inside of ``$'...'``, which bash uses for a text with control characters."""

    def replace(character: str) -> str:
        if character in _DOLLAR_QUOTED:
            return _DOLLAR_QUOTED[character]
        if " " <= character < "\x7f" or (character >= "\xa0" and not ascii_only):
            return character
        return "".join(f"\\{byte:03o}" for byte in to_bytes(character))

    return _escape(replace)


def _double_quoted(special: str) -> Escape:
    return _escape(lambda character: "\\" + character if character in special else character)


SHELL: tuple[Escape, ...] = (
    _replaced("'", "'\\''"),
    _replaced("'", "'\"'\"'"),
    _double_quoted('"$`\\'),
    _double_quoted('"$`\\!'),
    _bash_backslashes,
    _dollar_quoted(ascii_only=False),
    _dollar_quoted(ascii_only=True),
)

# Both together

ESCAPES: tuple[Escape, ...] = (to_bytes, *JSON, *SHOWN, *URL, *SHELL)
EVERYTHING_ESCAPED: tuple[Escape, ...] = (
    _percent("", upper=True, plus=False),
    _percent("", upper=False, plus=False),
    _escape(_unicode_escape),
    _escape(partial(_unicode_escape, upper=True)),
)
# For texts so large that each way counts.
COMMON_ESCAPES: tuple[Escape, ...] = (to_bytes, *JSON[:2], URL[0], URL[1], SHELL[0])


def ways_to_write(text: str, *, large: bool) -> Iterable[Escape]:
    """Return the escapes that can make a difference for a text."""
    if PLAIN.issuperset(text):
        return (to_bytes,)
    return COMMON_ESCAPES if large else ESCAPES
