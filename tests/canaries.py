"""
Secrets that stand nowhere else, and a search for them in every writing.

What the product does against leaks knows its own list of writings; this one is written out apart from it.
"""

import base64
import secrets
import string
from collections.abc import Iterator
from dataclasses import dataclass, field

import ahocorasick_rs

_LETTERS = string.ascii_letters + string.digits
_CORE_CHARACTERS = 18  # long enough that no other text holds it in any writing
# Between the cores stands what each writing changes.
_ODD = " 'q\"$& /ä%\\"


@dataclass(frozen=True)
class Finding:
    """A canary in a place; ``writing`` says how it was written there."""

    canary: str
    writing: str
    place: str
    around: str = field(compare=False)

    def __str__(self) -> str:
        return f"{self.canary} ({self.writing}) in {self.place}: {self.around}"


class Canaries:
    """
    Make secrets and look for them.

    A secret is two cores of letters and digits around odd characters: half a secret is found as well, and the cores
    are left alone by every escape there is.
    """

    def __init__(self) -> None:
        self._cores: dict[str, str] = {}
        self._automaton: ahocorasick_rs.BytesAhoCorasick | None = None
        self._needles: list[tuple[str, str]] = []

    def new(self, name: str) -> str:
        """Return a secret of one line."""
        return _ODD.join(self._core(name) for _half in range(2))

    def plain(self, name: str) -> str:
        """Return a secret of letters and digits, for what goes into an environment or a header."""
        return self._core(name) + self._core(name)

    def lines(self, name: str, count: int = 3) -> str:
        """Return a secret of several lines."""
        return "\n".join(f"{self._core(f'{name}, line {number + 1}')}+/=" for number in range(count))

    def know(self, name: str, secret: str) -> str:
        """Look for a secret as well that somebody else has made; return it."""
        self._cores[secret] = name
        self._automaton = None
        return secret

    def _core(self, name: str) -> str:
        return self.know(name, "".join(secrets.choice(_LETTERS) for _letter in range(_CORE_CHARACTERS)))

    def search(self, data: bytes, place: str) -> list[Finding]:
        """Return each canary that stands in the data, once per writing; base64 may be broken into lines."""
        found = {}
        for text in (data, data.translate(None, b"\r\n ")) if len(data) else ():
            for index, start, end in self._compiled().find_matches_as_indexes(text, overlapping=True):
                around = text[max(0, start - 60) : end + 20].decode(errors="replace")
                finding = Finding(*self._needles[index], place, around)
                found.setdefault(finding, finding)
        return list(found)

    def _compiled(self) -> ahocorasick_rs.BytesAhoCorasick:
        if self._automaton is None:
            forms = [(name, writing, form) for core, name in self._cores.items() for writing, form in writings(core)]
            self._needles = [(name, writing) for name, writing, _form in forms]
            self._automaton = ahocorasick_rs.BytesAhoCorasick([form for _name, _writing, form in forms])
        return self._automaton


def writings(core: str) -> Iterator[tuple[str, bytes]]:
    """Yield (name, bytes) for each way in which letters and digits may be written."""
    data = core.encode()
    yield "raw", data
    yield "UTF-16", core.encode("utf-16-le")
    yield "hex", data.hex().encode()
    yield "HEX", data.hex().upper().encode()
    yield "hex in hex", data.hex().encode().hex().encode()
    yield "spaced hex", data.hex(":").encode()
    yield "URL", "".join(f"%{byte:02x}" for byte in data).encode()
    yield "URL, upper case", "".join(f"%{byte:02X}" for byte in data).encode()
    yield "JSON", "".join(f"\\u{byte:04x}" for byte in data).encode()
    yield "JSON, upper case", "".join(f"\\u{byte:04X}" for byte in data).encode()
    yield "HTML", "".join(f"&#{byte};" for byte in data).encode()
    yield "octal", "".join(f"\\{byte:03o}" for byte in data).encode()
    for offset in range(3):
        yield f"base64, offset {offset}", _base64(data, offset)
        once = _base64(data, offset)
        for outer in range(3):
            yield f"base64 of base64, offsets {offset} and {outer}", _base64(once, outer)


def _base64(data: bytes, offset: int) -> bytes:
    """Return the characters that depend on nothing but the data, which ``offset`` bytes stand before."""
    encoded = base64.b64encode(bytes(offset) + data)
    return encoded[-(-8 * offset // 6) : 8 * (offset + len(data)) // 6]
