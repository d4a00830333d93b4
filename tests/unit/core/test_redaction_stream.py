"""The streaming redactor, held against a slow one that looks at the whole text at each place."""

import base64
import hashlib
import random
import string
import time
import tracemalloc
from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from apps.core.redaction import RedactedStream, Redactor
from apps.core.redaction.forms import forms_of, secret_texts
from apps.core.redaction.patterns import BEGINNING_BYTES
from apps.core.redaction.wrapping import unwrapped

SECRET = "hunter22-is-the-canary"

# Few letters, so that secrets overlap, begin and end alike and contain each other.
short_secrets = st.text("ab\"'/ \n+é", min_size=4, max_size=12)
long_secrets = st.integers(0, 50).map(lambda number: hashlib.sha512(str(number).encode()).hexdigest() + "ö€/é" * 9)
secret_lists = st.lists(short_secrets | long_secrets, min_size=1, max_size=4)


def contents(secrets: Sequence[str]) -> set[bytes]:
    return {form.content for form in forms_of(secret_texts(secrets))}


@st.composite
def texts(draw: st.DrawFn, forms: Sequence[bytes]) -> bytes:
    """Noise with forms in it, and with beginnings and ends of forms."""
    form = st.sampled_from(forms)
    part = st.one_of(
        form,
        st.tuples(form, st.integers(0, 100)).map(lambda cut: cut[0][: cut[1]]),
        st.tuples(form, st.integers(0, 100)).map(lambda cut: cut[0][cut[1] :]),
        st.text("ab\"'/ \n+é", max_size=8).map(str.encode),
        st.binary(max_size=8),
    )
    return b"".join(draw(st.lists(part, max_size=12)))


def cut(text: bytes, places: Iterable[int]) -> list[bytes]:
    edges = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[start:end] for start, end in pairwise(edges)]


def shown_by(stream: RedactedStream, chunks: Iterable[bytes], longest_break: int = 0) -> bytes:
    shown = []
    for chunk in chunks:
        shown.append(stream.feed(chunk))
        assert stream.held < BEGINNING_BYTES + longest_break
    return b"".join([*shown, stream.flush()])


def slowly_redacted(text: bytes, secrets: Sequence[str]) -> bytes:
    """What the result must be: each byte of each form is masked, and of a long form the beginning counts as well."""
    masked = bytearray(len(text))
    for form in forms_of(secret_texts(secrets)):
        for start in range(len(text)):
            same = 0
            while start + same < len(text) and same < len(form.content) and text[start + same] == form.content[same]:
                same += 1
            if same < min(len(form.content), BEGINNING_BYTES):
                continue
            if same < len(form.content) and start + same < len(text) and not form.is_base64:
                while form.content[same] & 0xC0 == 0x80:  # half a character stays
                    same -= 1
            masked[start : start + same] = b"\1" * same
    shown = bytearray()
    for at, byte in enumerate(text):
        if not masked[at]:
            shown.append(byte)
        elif at == 0 or not masked[at - 1]:
            shown += b"***"
    return bytes(shown)


@settings(deadline=None)  # the slow one is
@given(st.data())
def test_stream_is_as_the_slow_one_wherever_it_is_cut(data: st.DataObject) -> None:
    secrets = data.draw(secret_lists)
    assume(secret_texts(secrets))
    text = data.draw(texts(sorted(contents(secrets))))
    assume(unwrapped(text) is None)
    chunks = cut(text, data.draw(st.lists(st.integers(0, 10_000), max_size=20)))

    shown = shown_by(Redactor(secrets).stream(), chunks)

    assert shown == slowly_redacted(text, secrets)
    assert Redactor(secrets).redact_bytes(text) == shown


@given(st.data())
def test_no_form_is_left_whatever_is_released_in_between(data: st.DataObject) -> None:
    secrets = data.draw(secret_lists)
    assume(secret_texts(secrets))
    forms = contents(secrets)
    text = data.draw(texts(sorted(forms)))
    stream = Redactor(secrets).stream()

    shown = b""
    for chunk in cut(text, data.draw(st.lists(st.integers(0, 10_000), max_size=20))):
        shown += stream.feed(chunk)
        if data.draw(st.booleans()):
            shown += stream.release()
            assert stream.held == 0
    shown += stream.flush()

    assert [form for form in forms if form in shown] == []


@given(st.lists(st.binary(max_size=200)), st.lists(st.text(string.ascii_letters, min_size=8), min_size=1))
def test_text_without_secrets_passes_unchanged(chunks: list[bytes], secrets: list[str]) -> None:
    text = b"".join(chunks)
    redactor = Redactor(secrets)
    assume(not any(form[:4] in text for form in contents(secrets)))
    stream = redactor.stream()

    assert shown_by(redactor.stream(), chunks) == text
    assert b"".join([stream.feed(chunk) + stream.release() for chunk in chunks]) == text


@given(st.data())
def test_text_remains_text(data: st.DataObject) -> None:
    secrets = data.draw(secret_lists)
    text = data.draw(st.lists(st.sampled_from([*secrets, "é", "ö€", "a"])).map("".join)).encode()
    chunks = cut(text, data.draw(st.lists(st.integers(0, 10_000), max_size=20)))

    shown_by(Redactor(secrets).stream(), chunks).decode()


@given(
    st.binary(max_size=100),
    st.text(min_size=4, max_size=80).filter(lambda text: text == text.strip() and bool(secret_texts([text]))),
    st.binary(max_size=100),
    st.sampled_from([60, 64, 76]),
    st.sampled_from([b"\n", b"\r\n", b"\n    "]),
    st.lists(st.integers(0, 10_000), max_size=10),
)
def test_base64_in_lines_is_found(
    before: bytes, secret: str, after: bytes, width: int, line_break: bytes, places: list[int]
) -> None:
    encoded = base64.b64encode(before + secret.encode() + after)
    first, last = -(-8 * len(before) // 6), 8 * len(before + secret.encode()) // 6
    text = line_break.join(encoded[at : at + width] for at in range(0, len(encoded), width))

    shown = shown_by(Redactor([secret]).stream(), cut(text, places), longest_break=2 * len(line_break))

    assert encoded[first:last] not in shown.replace(line_break, b"")
    assert shown.count(line_break) == text.count(line_break)


def test_lines_of_a_wrapped_token_stay_lines() -> None:
    token = "".join(random.Random(1).choices(string.ascii_letters, k=200))
    text = b"# token\n" + base64.encodebytes(token.encode()) + b"A line of its own\n"

    assert Redactor([token]).redact_bytes(text) == b"# token\n***\n***\n***\n***\nA line of its own\n"


def test_nothing_is_held_of_what_cannot_become_a_secret() -> None:
    stream = Redactor([SECRET]).stream()

    assert stream.feed(b"a line\n") == b"a line\n"
    assert stream.feed(b"a prompt: h") == b"a prompt: "
    assert stream.feed(b"i?") == b"hi?"
    assert stream.feed(b"hunter22-is") == b""
    assert stream.feed(b"nt\n") == b"hunter22-isnt\n"
    assert stream.held == 0


def test_found_secret_is_shown_at_once_though_a_longer_one_may_follow() -> None:
    stream = Redactor(["hunter22", "hunter22-and-more"]).stream()

    assert stream.feed(b"hunter22") == b"***"
    assert stream.feed(b"-and") == b""
    assert stream.feed(b"-less") == b"-and-less"
    assert stream.feed(b" hunter22-and-") == b" ***"
    assert stream.feed(b"more.") == b"."


def test_released_beginning_is_not_followed_by_the_rest() -> None:
    stream = Redactor([SECRET]).stream()

    assert (stream.feed(b"x hun"), stream.held) == (b"x ", 3)
    assert (stream.release(), stream.held) == (b"hun", 0)
    assert stream.feed(SECRET[3:].encode() + b" y") == b"*** y"


def test_greater_part_of_a_secret_is_not_released() -> None:
    stream = Redactor([SECRET]).stream()

    assert stream.feed(b"x " + SECRET[:-1].encode()) == b"x "
    assert (stream.release(), stream.release()) == (b"***", b"")
    assert stream.feed(SECRET[-1:].encode() + b" y") == b" y"


def test_greater_part_of_a_secret_is_not_released_behind_the_beginning_of_another() -> None:
    stream = Redactor(["hunter22", "xyz-hunter2-" * 5]).stream()

    assert stream.feed(b"xyz-hunter2") == b""
    assert stream.release() == b"xyz-***"


def test_end_shows_what_did_not_become_a_secret() -> None:
    stream = Redactor([SECRET]).stream()

    assert stream.feed(SECRET[:-1].encode()) + stream.flush() == SECRET[:-1].encode()


def test_cut_masks_what_may_have_become_a_secret() -> None:
    stream = Redactor([SECRET]).stream()

    assert stream.feed(b"x hun") + stream.cut() == b"x ***"
    assert stream.feed(b"x") + stream.cut() == b"x"


def test_stream_can_be_used_again_after_its_end() -> None:
    stream = Redactor([SECRET]).stream()

    assert stream.feed(SECRET.encode()) + stream.flush() == b"***"
    assert stream.feed(SECRET.encode()) + stream.flush() == b"***"


def test_beginning_of_a_long_secret_is_enough() -> None:
    secret = "".join(random.Random(2).choices(string.ascii_letters, k=1000))
    redactor = Redactor([secret])

    assert redactor.redact_text(f"[{secret[:64]}] [{secret[:700]}] [{secret}]") == "[***] [***] [***]"
    assert redactor.redact_text(secret[:63]) == secret[:63]


def test_secrets_with_a_common_beginning_are_told_apart() -> None:
    common = "".join(random.Random(3).choices(string.ascii_letters, k=300))
    secrets = [common, common + "-one" * 50, common + "-two" * 50]

    assert Redactor(secrets).redact_text(f"[{secrets[2]}] [{secrets[1]}] [{common}]") == "[***] [***] [***]"


@pytest.mark.parametrize("large", ["x" * 2**16, "xy" * 2**15, "a line of text\n" * 2**12, None])
def test_large_secret_takes_neither_long_nor_much(large: str | None) -> None:
    secret = large or "".join(random.Random(4).choices(string.printable, k=2**17)).strip()
    text = b"before " + secret.encode() + b" after\n"

    tracemalloc.start()
    begun = time.process_time()
    stream = Redactor([secret]).stream()
    shown = b"".join([stream.feed(text[at : at + 65536]) for at in range(0, len(text), 65536)]) + stream.flush()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert shown in (b"before *** after\n", b"before ***\n*** after\n")
    assert peak < 32 * 2**20
    assert time.process_time() - begun < 20  # it takes about 2, most of it counting memory


def test_many_secrets_take_neither_long_nor_much() -> None:
    generator = random.Random(5)
    secrets = [f"{generator.getrandbits(80):x}" for _ in range(30_000)]
    begun = time.process_time()

    shown = Redactor([secrets]).redact_text(" ".join(secrets[:5000]))

    assert shown == " ".join(["***"] * 5000)
    assert time.process_time() - begun < 20  # it takes about 1


def test_secrets_that_are_prefixes_of_each_other() -> None:
    secrets = ["a" * length for length in range(4, 100)]
    stream = Redactor(secrets).stream()

    assert shown_by(stream, [b"aaa", b" ", b"aaa", b"a", b"a" * 1000, b" a"]) == b"aaa *** a"
