"""Bytes as people read them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cases.hexview import as_text, hex_lines, texts_in


def test_a_row_has_its_offset_its_bytes_and_what_can_be_printed() -> None:
    rows = list(hex_lines(b"MZ\x90\x00" + bytes(range(0x30, 0x44))))
    assert rows[0] == "00000000  4d 5a 90 00 30 31 32 33  34 35 36 37 38 39 3a 3b  MZ..0123456789:;"
    assert rows[1] == "00000010  3c 3d 3e 3f 40 41 42 43                           <=>?@ABC"


@given(st.binary(max_size=200))
def test_rows_hold_every_byte(data: bytes) -> None:
    assert bytes.fromhex("".join(row[10:59] for row in hex_lines(data))) == data


def test_text_is_text_also_when_it_is_cut_inside_a_character() -> None:
    assert as_text("żółć".encode()) == "żółć"
    assert as_text("żółć".encode()[:-1]) == "żół"
    assert as_text(b"\xff\xfeabc") is None
    assert as_text(b"a\x00b") is None


def test_texts_of_both_widths_are_found_in_binary_data() -> None:
    data = b"\x01\x02cmd.exe\x00\x00\x03" + "C:\\Temp".encode("utf-16-le") + b"\x00\x00abc\x00"
    assert list(texts_in(data)) == ["00000002  cmd.exe", "0000000c  C:\\Temp"]


@given(st.binary(max_size=500))
def test_any_bytes_can_be_looked_at(data: bytes) -> None:
    for line in texts_in(data):
        assert line.isprintable() or "\t" in line or "\xad" in line or "\xa0" in line
