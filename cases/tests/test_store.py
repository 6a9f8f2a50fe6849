"""The evidence store: what comes in is what stays, or nothing does."""

from __future__ import annotations

import hashlib
import os
import resource
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cases import store
from cases.tests.cast import Untouched
from datamortem.common.errors import TooLarge

BLOCK = 1024 * 1024


def _files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file() and path.parent.name != "locks"]


def _admit(content: object, **bounds: int) -> store.Stored:
    with store.admit(content, **bounds) as stored:  # type: ignore[arg-type]
        return stored


def test_content_is_kept_under_its_hash_for_the_owner_alone(settings) -> None:
    stored = _admit([b"some ", b"", b"evidence"])
    assert stored.sha256 == hashlib.sha256(b"some evidence").hexdigest()
    assert stored.size == 13
    path = store.path(stored.key)
    assert path == settings.EVIDENCE_ROOT / "sha256" / stored.sha256[:2] / stored.sha256
    assert path.read_bytes() == b"some evidence"
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    for directory in (settings.EVIDENCE_ROOT, path.parent, path.parent.parent):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert _files(settings.EVIDENCE_ROOT) == [path]


def test_the_same_content_is_stored_once(settings) -> None:
    first, second = _admit([b"same"]), _admit([b"sa", b"me"])
    assert first == second
    assert len(_files(settings.EVIDENCE_ROOT)) == 1


def test_an_upload_that_is_cut_leaves_nothing_behind(settings) -> None:
    def cut() -> Iterator[bytes]:
        yield b"x" * BLOCK
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        _admit(cut())
    with pytest.raises(store.Incomplete, match="10 bytes were announced, 3 arrived"):
        _admit([b"abc"], expected_size=10)
    assert _files(settings.EVIDENCE_ROOT) == []


def test_more_than_the_limit_is_refused_before_and_during(settings) -> None:
    seen: list[int] = []

    def content() -> Iterator[bytes]:
        for number in range(100):
            seen.append(number)
            yield b"x" * 1000

    with pytest.raises(TooLarge):
        _admit(content(), expected_size=100_000, limit=5000)
    assert seen == []
    with pytest.raises(TooLarge):
        _admit(content(), limit=5000)
    assert len(seen) == 6
    assert _files(settings.EVIDENCE_ROOT) == []


def test_what_cannot_fit_is_refused_before_the_first_byte(settings) -> None:
    with pytest.raises(store.NoSpace):
        _admit(Untouched(), expected_size=2**60)
    settings.EVIDENCE_RESERVE = 2**60
    with pytest.raises(store.NoSpace):
        _admit(Untouched())
    assert _files(settings.EVIDENCE_ROOT) == []


def test_a_full_disk_is_a_clear_refusal(settings) -> None:
    def content() -> Iterator[bytes]:
        for _ in range(200):
            settings.EVIDENCE_RESERVE = 2**60  # the volume fills up while we write
            yield b"x" * BLOCK

    with pytest.raises(store.NoSpace):
        _admit(content())
    assert _files(settings.EVIDENCE_ROOT) == []


def test_content_that_could_not_be_registered_is_removed_unless_it_was_there(settings) -> None:
    _admit([b"held"])
    for content in (b"held", b"new"):
        with pytest.raises(RuntimeError), store.admit([content]):
            raise RuntimeError
    assert [path.read_bytes() for path in _files(settings.EVIDENCE_ROOT)] == [b"held"]


def test_rotten_content_is_replaced_when_it_comes_in_whole(settings) -> None:
    stored = _admit([b"evidence"])
    path = store.path(stored.key)
    path.chmod(0o600)
    path.write_bytes(b"evidenCe")
    assert not store.matches(stored.key, stored.sha256)
    _admit([b"evidence"])
    assert store.matches(stored.key, stored.sha256)


def test_only_keys_of_ours_become_paths() -> None:
    digest = "a" * 64
    for key in (
        None,
        "",
        "/etc/passwd",
        "../x",
        f"sha256/bb/{digest}",
        f"sha256/aa/../{digest}",
        "sha256/aa/A",
    ):
        with pytest.raises(store.NotSealed):
            store.path(key)


def test_the_sweep_removes_what_a_dead_process_left_and_nothing_alive(settings) -> None:
    _admit([b"settled"])
    dead = settings.EVIDENCE_ROOT / "incoming" / "dead"
    dead.write_bytes(b"part")
    begun, go = threading.Event(), threading.Event()

    def slow() -> Iterator[bytes]:
        yield b"first"
        begun.set()
        go.wait(10)
        yield b"second"

    thread = threading.Thread(target=_admit, args=(slow(),))
    thread.start()
    begun.wait(10)
    long_ago = time.time() - 3600
    for draft in (settings.EVIDENCE_ROOT / "incoming").iterdir():
        os.utime(draft, (long_ago, long_ago))
    assert store.sweep() == 1
    go.set()
    thread.join()
    assert not dead.exists()
    assert {path.read_bytes() for path in _files(settings.EVIDENCE_ROOT)} == {b"settled", b"firstsecond"}


def test_memory_stays_flat_at_any_size(settings) -> None:
    block = b"\x00" * BLOCK
    _admit([block])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    stored = _admit(block for _ in range(300))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert stored.size == 300 * BLOCK
    assert grown < 30 * 1024  # KiB


def test_many_at_once_agree_on_one_copy(settings) -> None:
    results: list[store.Stored] = []
    threads = [threading.Thread(target=lambda: results.append(_admit([b"x" * BLOCK]))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert len(set(results)) == 1
    assert len(_files(settings.EVIDENCE_ROOT)) == 1
