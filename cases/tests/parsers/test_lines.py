"""Lines and their places, whatever the bytes are and however they arrive."""

from __future__ import annotations

import codecs
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases.parsers import lines
from cases.parsers.lines import LINE_LIMIT, Line, read_lines
from cases.records import RAW_LIMIT, Damage


class Dripping(io.BytesIO):
    """A stream that gives as few bytes at a time as it is told to."""

    def __init__(self, content: bytes, step: int) -> None:
        super().__init__(content)
        self.step = step

    def read1(self, size: int | None = -1, /) -> bytes:
        return self.read(min(self.step, size) if size and size > 0 else self.step)


def found(content: bytes, step: int = 1 << 20) -> list[Line | Damage]:
    return list(read_lines(Dripping(content, step)))


def texts(content: bytes, step: int = 1 << 20) -> list[str]:
    return [line.text() for line in found(content, step) if isinstance(line, Line)]


def test_lines_end_with_lf_or_cr_lf_and_the_last_may_end_with_nothing() -> None:
    assert found(b"one\ntwo\r\n\nthree") == [
        Line(1, 0, 3, b"one"),
        Line(2, 4, 3, b"two"),
        Line(4, 10, 5, b"three"),
    ]


def test_a_lone_cr_is_part_of_the_line() -> None:
    assert texts(b"visible\rhidden\nnext\r\n") == ["visible\rhidden", "next"]


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, 7])
def test_nothing_depends_on_how_the_bytes_arrive(step: int) -> None:
    content = codecs.BOM_UTF8 + "eins\r\nzwei ä€😀\n\n\0\0drei\r\nvier".encode()
    assert found(content, step) == found(content)
    assert texts(content, step) == ["eins", "zwei ä€😀", "drei", "vier"]


@pytest.mark.parametrize("content", [b"", codecs.BOM_UTF8, codecs.BOM_UTF16_LE, b"\n\n\r\n  \t\n"])
@pytest.mark.parametrize("step", [1, 3, 100])
def test_content_without_a_line_has_none(content: bytes, step: int) -> None:
    assert found(content, step) == []


def test_a_run_of_nul_bytes_is_damage_and_what_follows_it_is_a_line() -> None:
    assert found(b"before\n\0\0\0\0after\n\0\0") == [
        Line(1, 0, 6, b"before"),
        Damage("line 2 (NUL bytes)", "4 NUL bytes", b"", (7, 4)),
        Line(2, 11, 5, b"after"),
        Damage("line 3 (NUL bytes)", "2 NUL bytes", b"", (17, 2)),
    ]


def test_nul_bytes_within_a_line_stay() -> None:
    assert texts(b"a\0b\n") == ["a\0b"]


def test_bytes_that_are_no_utf8_are_shown_by_their_numbers() -> None:
    assert texts(b"caf\xe9 \xff\xfe!\n") == ["caf\\xe9 \\xff\\xfe!"]


@pytest.mark.parametrize("size", [LINE_LIMIT - 1, LINE_LIMIT])
def test_a_line_up_to_the_limit_is_read(size: int) -> None:
    content = b"x" * size + b"\r\nnext"
    first, second = found(content, 100_000)
    # The CR counts as long as it is not known to be part of the end.
    if size == LINE_LIMIT:
        assert isinstance(first, Damage)
    else:
        assert isinstance(first, Line)
        assert len(first.raw) == size
    assert isinstance(second, Line)
    assert (second.raw, second.offset) == (b"next", size + 2)


@pytest.mark.parametrize("step", [1 << 16, 1 << 18, 1 << 30])
@pytest.mark.parametrize("size", [LINE_LIMIT + 1, 5_000_000, 3 * LINE_LIMIT + 17])
def test_of_a_line_too_long_the_beginning_is_kept_and_reading_goes_on(size: int, step: int) -> None:
    content = b"one\n" + b"y" * size + b"\nthree\n"
    first, second, third = found(content, step)
    assert first == Line(1, 0, 3, b"one")
    assert isinstance(second, Damage)
    assert (second.position, second.span, second.raw) == ("line 2", (4, size), b"y" * RAW_LIMIT)
    assert str(size) in second.reason
    assert third == Line(3, size + 5, 5, b"three")


def test_a_line_without_end_takes_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = 0
    make = lines._line

    def watched(number: int, offset: int, raw: bytes, skipped: int) -> Line:
        nonlocal largest
        largest = max(largest, len(raw))
        return make(number, offset, raw, skipped)

    monkeypatch.setattr(lines, "_line", watched)

    class Endless(io.RawIOBase):
        left = 400

        def read1(self, size: int = -1) -> bytes:
            self.left -= 1
            return b"z" * (1 << 18) if self.left >= 0 else b""

    (only,) = read_lines(Endless())  # type: ignore[arg-type]
    assert isinstance(only, Damage)
    assert only.span == (0, 400 << 18)
    assert largest <= LINE_LIMIT + 2 * (1 << 18)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("step", [1, 2, 3, 5, 1000])
def test_utf16_is_recognised_by_its_mark_and_places_stay_bytes(encoding: str, step: int) -> None:
    mark = codecs.BOM_UTF16_LE if encoding == "utf-16-le" else codecs.BOM_UTF16_BE
    content = mark + "eins\r\n😀 zwei 😀\n\ndrei".encode(encoding)
    got = [line for line in found(content, step) if isinstance(line, Line)]
    assert [line.text() for line in got] == ["eins", "😀 zwei 😀", "drei"]
    assert [content[line.offset : line.offset + line.length].decode(encoding) for line in got] == [
        "eins",
        "😀 zwei 😀",
        "drei",
    ]


def test_utf16_cut_within_a_character_keeps_the_line_and_its_bytes() -> None:
    content = codecs.BOM_UTF16_LE + "ab😀".encode("utf-16-le")
    for cut in (1, 2, 3):
        (line,) = found(content[:-cut])
        assert isinstance(line, Line)
        assert line.text() == "ab\ufffd"
        assert line.offset + line.length == len(content) - cut


def test_utf16_lines_too_long_are_one_damage_and_reading_goes_on() -> None:
    size = LINE_LIMIT // 2 + 700_000
    content = codecs.BOM_UTF16_LE + ("a\n" + "x" * size + "\nb").encode("utf-16-le")
    first, second, third = found(content, 1 << 18)
    assert isinstance(first, Line)
    assert isinstance(second, Damage)
    assert isinstance(third, Line)
    assert (second.position, second.span) == ("line 2", (6, 2 * size))
    assert (third.text(), third.position) == ("b", "line 3")
    assert content[third.offset :] == "b".encode("utf-16-le")


ANY = st.binary(max_size=400) | st.lists(
    st.sampled_from([b"\n", b"\r\n", b"\r", b"\0", b" ", b"a", b"\xc3\xa4", b"\xff", b"longer text"]),
    max_size=60,
).map(b"".join)


@settings(max_examples=300, deadline=None)
@given(content=ANY, step=st.integers(1, 9))
def test_every_place_holds_exactly_its_line_and_nothing_is_lost(content: bytes, step: int) -> None:
    if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        content = b"." + content
    covered = bytearray(content)
    positions = []
    for line in found(content, step):
        assert line.span is not None
        offset, length = line.span
        if isinstance(line, Line):
            assert content[offset : offset + length] == line.raw
        else:
            assert content[offset : offset + length] == b"\0" * length
        covered[offset : offset + length] = b"\n" * length
        positions.append(line.position)
    rest = bytes(covered).removeprefix(codecs.BOM_UTF8)
    assert rest.strip(b"\n\r \t\v\f") == b""
    assert len(positions) == len(set(positions))


@settings(max_examples=200, deadline=None)
@given(
    text=st.text(st.characters(codec="utf-8") | st.sampled_from("\n\r😀"), max_size=60),
    step=st.integers(1, 7),
)
def test_utf16_places_hold_exactly_their_lines(text: str, step: int) -> None:
    text = text.replace("\0", "")
    content = codecs.BOM_UTF16_BE + text.encode("utf-16-be")
    for line in found(content, step):
        assert isinstance(line, Line)
        place = content[line.offset : line.offset + line.length]
        assert place.decode("utf-16-be") == line.text()


@settings(max_examples=100, deadline=None)
@given(units=st.lists(st.integers(0, 0xFFFF), max_size=40), odd=st.booleans(), step=st.integers(1, 5))
def test_utf16_of_any_units_is_survived_within_bounds(units: list[int], odd: bool, step: int) -> None:
    content = codecs.BOM_UTF16_LE + b"".join(unit.to_bytes(2, "little") for unit in units) + b"\xd8" * odd
    positions = []
    for line in found(content, step):
        assert line.span is not None
        assert line.span[0] + line.span[1] <= len(content)
        positions.append(line.position)
    assert len(positions) == len(set(positions))
