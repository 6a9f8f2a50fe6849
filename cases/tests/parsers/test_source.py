"""Evidence unpacked as it is read: every packing, every cut, every flipped bit, and bombs."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import socket
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from cases.parsers import source as source_module
from cases.parsers import unpacking
from cases.parsers.base import HEAD_SIZE
from cases.parsers.source import FileSource, compression_of
from cases.records import ParseError

PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
}
LOG = b"".join(
    b"Jan %2d 07:52:33 web-01 sshd[%d]: line number %d\n" % (n % 28 + 1, n * 7, n) for n in range(60)
)


def stored(tmp_path: Path, content: bytes, name: str = "evidence") -> FileSource:
    path = tmp_path / name
    path.write_bytes(content)
    return FileSource(path, name)


def read_all(source: FileSource, step: int = 1 << 16) -> tuple[bytes, str]:
    """Return what can be read, and the fault that ended it."""
    content: list[bytes] = []
    with source.open() as stream:
        try:
            while block := stream.read1(step):  # type: ignore[attr-defined]
                content.append(block)
        except ParseError as error:
            return b"".join(content), str(error)
    return b"".join(content), ""


def test_plain_content_is_read_as_it_is(tmp_path: Path) -> None:
    source = stored(tmp_path, LOG)
    assert read_all(source) == (LOG, "")
    assert (source.compression, source.head, source.size) == (None, LOG, len(LOG))


@pytest.mark.parametrize("name", PACK)
def test_each_packing_is_recognised_by_content_and_unpacked(tmp_path: Path, name: str) -> None:
    source = stored(tmp_path, PACK[name](LOG), "named.txt")
    assert source.compression == name
    assert read_all(source) == (LOG, "")
    assert source.head == LOG


@pytest.mark.parametrize("name", PACK)
def test_members_in_a_row_are_one_content_also_empty_ones_and_padding(tmp_path: Path, name: str) -> None:
    pack = PACK[name]
    row = pack(LOG) + pack(b"") + pack(b"second\n") + pack(b"third\n")
    assert read_all(stored(tmp_path, row)) == (LOG + b"second\nthird\n", "")
    if name != "zstd":  # tapes and xz pad with zeros
        assert read_all(stored(tmp_path, pack(LOG) + b"\0" * 1024)) == (LOG, "")


@pytest.mark.parametrize("inner", PACK)
@pytest.mark.parametrize("outer", PACK)
def test_one_packing_within_another_is_unpacked_twice(tmp_path: Path, inner: str, outer: str) -> None:
    source = stored(tmp_path, PACK[outer](PACK[inner](LOG)))
    assert source.compression == f"{outer}+{inner}"
    assert read_all(source) == (LOG, "")


def test_a_third_packing_is_content(tmp_path: Path) -> None:
    inner = gzip.compress(LOG)
    source = stored(tmp_path, gzip.compress(gzip.compress(inner)))
    assert read_all(source) == (inner, "")


@pytest.mark.parametrize("name", PACK)
def test_big_content_is_unpacked_whole_and_in_flat_pieces(tmp_path: Path, name: str) -> None:
    data = random.Random(7).randbytes(400_000) + b"same " * 200_000
    source = stored(tmp_path, PACK[name](data))
    assert read_all(source) == (data, "")
    assert source.head == data[:HEAD_SIZE]


def recoverable(name: str, packed: bytes) -> bytes:
    """Return what the library alone gets out of a beginning, byte by byte."""
    make: dict[str, Callable[[], object]] = {
        "gzip": lambda: zlib.decompressobj(wbits=31),
        "bzip2": bz2.BZ2Decompressor,
        "xz": lzma.LZMADecompressor,
        "zstd": lambda: zstandard.ZstdDecompressor().decompressobj(),
    }
    unpacker = make[name]()
    content = b""
    for place in range(len(packed)):
        content += unpacker.decompress(packed[place : place + 1])  # type: ignore[attr-defined]
    return content


@pytest.mark.parametrize("name", PACK)
def test_cut_at_every_byte_everything_before_is_read_and_then_the_cut_is_said(
    tmp_path: Path, name: str
) -> None:
    packed = PACK[name](LOG)
    for cut in range(6, len(packed)):
        content, fault = read_all(stored(tmp_path, packed[:cut]))
        assert content == recoverable(name, packed[:cut]), cut
        assert LOG.startswith(content)
        assert name in fault, cut


def test_cut_in_the_middle_of_what_packs_well_nothing_that_was_unpacked_stays_behind(tmp_path: Path) -> None:
    data = b"".join(b"%d " % (n // 500) + b"=" * (n % 600) for n in range(3_000))
    packed = gzip.compress(data, mtime=0)
    for cut in range(len(packed) // 2, len(packed) // 2 + 40):
        content, fault = read_all(stored(tmp_path, packed[:cut]), step=97)
        assert content == zlib.decompressobj(wbits=31).decompress(packed[:cut])
        assert "gzip" in fault


@pytest.mark.parametrize("name", PACK)
def test_a_cut_second_member_takes_nothing_from_the_first(tmp_path: Path, name: str) -> None:
    first, second = PACK[name](LOG), PACK[name](b"second " * 50)
    for cut in (1, 3, 5, len(second) // 2, len(second) - 1):
        content, fault = read_all(stored(tmp_path, first + second[:cut]))
        assert content.startswith(LOG), cut
        assert fault, cut


@pytest.mark.parametrize("name", PACK)
def test_any_flipped_bit_is_a_fault_or_changes_nothing_and_never_anything_else(
    tmp_path: Path, name: str
) -> None:
    packed = PACK[name](LOG)
    chance = random.Random(3)
    for _ in range(300):
        flipped = bytearray(packed)
        place = chance.randrange(4, len(packed))
        flipped[place] ^= 1 << chance.randrange(8)
        content, fault = read_all(stored(tmp_path, bytes(flipped)))
        if not fault:
            assert content == LOG, place


def test_garbage_behind_a_packed_content_is_said_after_all_of_it_was_read(tmp_path: Path) -> None:
    content, fault = read_all(stored(tmp_path, gzip.compress(LOG) + b"garbage"))
    assert content == LOG
    assert "damaged" in fault


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz", "zstd"])
def test_content_that_only_begins_like_a_packing_is_a_clear_fault(tmp_path: Path, name: str) -> None:
    magic = dict(source_module._MAGIC)[name]
    source = stored(tmp_path, magic + b"this is no packed content at all" * 9)
    content, fault = read_all(source)
    assert (content, source.head) == (b"", b"")
    assert name in fault


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_a_bomb_is_stopped_and_the_message_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(unpacking, "RATIO_FREE", 1_000_000)
    monkeypatch.setattr(unpacking, "RATIO_LIMIT", 500)
    packed = PACK[name](b"\0" * 50_000_000)
    content, fault = read_all(stored(tmp_path, packed))
    assert "grows more than 500 times" in fault
    assert len(content) < 40_000_000


def test_a_bomb_within_a_packing_is_stopped_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "RATIO_FREE", 1_000_000)
    packed = gzip.compress(gzip.compress(b"\0" * 60_000_000))
    assert len(packed) < 5_000
    _, fault = read_all(stored(tmp_path, packed))
    assert "grows more than" in fault


def test_what_grows_much_but_stays_small_is_no_bomb(tmp_path: Path) -> None:
    data = b"\0" * 4_000_000
    assert read_all(stored(tmp_path, bz2.compress(data)))[0] == data


def test_a_head_that_asks_for_gigabytes_of_memory_is_refused(tmp_path: Path) -> None:
    packed = bytearray(lzma.compress(LOG, check=lzma.CHECK_CRC32))
    # The block header (.xz format 1.2.1, 3.1): size, flags, filter 0x21, one byte of dictionary size.
    assert packed[12:16] == b"\x02\x00\x21\x01"
    packed[16] = 36  # 1 GiB
    packed[20:24] = zlib.crc32(packed[12:20]).to_bytes(4, "little")
    _, fault = read_all(stored(tmp_path, bytes(packed)))
    assert "Memory usage limit" in fault
    # RFC 8878, 3.1.1.1: descriptor without content size, window of 2^(10+20) bytes, a last raw block.
    frame = b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([20 << 3]) + b"\x09\x00\x00" + b"x"
    _, fault = read_all(stored(tmp_path, frame))
    assert "zstd" in fault


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    fifo, link, endpoint = tmp_path / "fifo", tmp_path / "link", tmp_path / "s"
    os.mkfifo(fifo)
    (tmp_path / "real").write_bytes(LOG)
    link.symlink_to(tmp_path / "real")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(endpoint))
    for path in (
        tmp_path,
        fifo,
        link,
        endpoint,
        Path("/dev/zero"),
        tmp_path / "missing",
        tmp_path / ("x" * 300),
    ):
        with pytest.raises(ParseError):
            FileSource(path, "evidence")
    server.close()


def test_a_file_that_shrinks_while_read_is_said_after_what_was_there(tmp_path: Path) -> None:
    source = stored(tmp_path, b"a" * 2_000_000)
    with source.open() as stream:
        got = len(stream.read1(1 << 16))  # type: ignore[attr-defined]
        os.truncate(source.path, 1_000_000)
        while got < 1_000_000:
            got += len(stream.read1(1 << 16))  # type: ignore[attr-defined]
        with pytest.raises(ParseError, match="shrank while read"):
            stream.read1(1 << 16)  # type: ignore[attr-defined]
    assert got == 1_000_000


def test_a_file_that_vanishes_between_readings_is_a_clear_fault(tmp_path: Path) -> None:
    source = stored(tmp_path, LOG)
    source.path.unlink()
    with pytest.raises(ParseError, match="cannot be opened"):
        source.open()


def test_an_empty_file_is_an_empty_content(tmp_path: Path) -> None:
    source = stored(tmp_path, b"")
    assert (source.head, read_all(source), source.progress()) == (b"", (b"", ""), 0.0)


@pytest.mark.parametrize("pack", [bytes, PACK["gzip"], PACK["zstd"]], ids=["plain", "gzip", "zstd"])
def test_progress_is_the_part_of_the_stored_bytes_and_ends_at_one(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    source = stored(tmp_path, pack(random.Random(1).randbytes(3_000_000)))
    assert source.progress() == 0.0
    seen = [0.0]
    with source.open() as stream:
        while stream.read1(1 << 16):  # type: ignore[attr-defined]
            seen.append(source.progress())
    assert seen == sorted(seen)
    assert 0 < seen[1] < 0.5
    assert seen[-1] == 1.0


def test_a_stream_starts_anew_each_time_it_is_opened(tmp_path: Path) -> None:
    source = stored(tmp_path, gzip.compress(LOG))
    with source.open() as first, source.open() as second:
        assert first.read(10) == LOG[:10]
        assert second.read() == LOG
        assert first.read() == LOG[10:]


def test_the_file_is_opened_for_reading_only(tmp_path: Path) -> None:
    with stored(tmp_path, LOG).open() as stream, pytest.raises((io.UnsupportedOperation, OSError)):
        stream.write(b"x")


def test_compression_is_told_by_magic_bytes_alone() -> None:
    assert [compression_of(PACK[name](b"x")) for name in PACK] == list(PACK)
    assert compression_of(b"") is None
    assert compression_of(b"BZ") is None
    assert compression_of(b"PK\x03\x04") is None
