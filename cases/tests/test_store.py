"""The evidence store: what comes in is what stays, or nothing does; in a folder and in a bucket."""

from __future__ import annotations

import hashlib
import io
import os
import resource
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db import connections, transaction

from cases import store
from cases.store.content import key_of
from cases.store.folder import Folder
from cases.tests.cast import Untouched
from cases.tests.stores import PLACES, Behind, a_draft
from datamortem.common.errors import TooLarge

pytestmark = pytest.mark.django_db

BLOCK = 1024 * 1024


@pytest.fixture(params=PLACES)
def behind(request: pytest.FixtureRequest, settings) -> Behind:
    """Evidence in one place after the other, and the back door to it."""
    return Behind(settings, request.param)


def _admit(content: object, **bounds: int) -> store.Stored:
    with store.admit(content, **bounds) as stored:  # type: ignore[arg-type]
        return stored


def _key(content: bytes) -> str:
    return key_of(hashlib.sha256(content).hexdigest())


def test_content_is_kept_under_its_hash(behind: Behind) -> None:
    stored = _admit([b"some ", b"", b"evidence"])
    assert stored.sha256 == hashlib.sha256(b"some evidence").hexdigest()
    assert (stored.size, stored.key) == (13, _key(b"some evidence"))
    assert behind.read(stored.sha256) == b"some evidence"
    assert behind.everything() == list(store.contents()) == [stored.key]
    assert store.matches(stored.key, stored.sha256)
    assert not store.matches(stored.key, "0" * 64)


def test_a_folder_is_for_its_owner_alone_and_nobody_writes_what_is_in_it(settings) -> None:
    path = store.path(_admit([b"evidence"]).key)
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    for directory in (settings.EVIDENCE_ROOT, path.parent, path.parent.parent):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_an_empty_file_is_evidence_too(behind: Behind) -> None:
    stored = _admit([])
    assert (stored.size, behind.read(stored.sha256)) == (0, b"")
    assert store.matches(stored.key, stored.sha256)
    with store.open_content(stored.key) as file:
        assert file.read() == b""


def test_the_same_content_is_stored_once(behind: Behind) -> None:
    first, second = _admit([b"same"]), _admit([b"sa", b"me"])
    assert first == second
    assert behind.everything() == [first.key]


def test_an_upload_that_is_cut_leaves_nothing_behind(behind: Behind) -> None:
    def cut() -> Iterator[bytes]:
        yield b"x" * BLOCK
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        _admit(cut())
    with pytest.raises(store.Incomplete, match="10 bytes were announced, 3 arrived"):
        _admit([b"abc"], expected_size=10)
    assert behind.everything() == []


def test_more_than_the_limit_is_refused_before_and_during(behind: Behind) -> None:
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
    assert behind.everything() == []


def test_what_cannot_fit_is_refused_before_the_first_byte(behind: Behind, settings) -> None:
    with pytest.raises(store.NoSpace):
        _admit(Untouched(), expected_size=2**60)
    settings.EVIDENCE_RESERVE = 2**60
    with pytest.raises(store.NoSpace):
        _admit(Untouched())
    assert behind.everything() == []


def test_a_full_disk_is_a_clear_refusal(behind: Behind, settings) -> None:
    def content() -> Iterator[bytes]:
        for _ in range(200):
            settings.EVIDENCE_RESERVE = 2**60  # the volume fills up while we write
            yield b"x" * BLOCK

    with pytest.raises(store.NoSpace):
        _admit(content())
    assert behind.everything() == []


def test_content_that_could_not_be_registered_is_removed_unless_it_was_there(behind: Behind) -> None:
    held = _admit([b"held"])
    for content in (b"held", b"new"):
        with pytest.raises(RuntimeError), store.admit([content]):
            raise RuntimeError
    assert behind.everything() == [held.key]


def test_content_whose_registration_was_done_nevertheless_stays(behind: Behind) -> None:
    with pytest.raises(RuntimeError), store.admit([b"new"], is_held=lambda sha256: True) as stored:
        raise RuntimeError
    assert behind.everything() == [stored.key]


def test_content_that_was_removed_before_it_was_held_comes_back(behind: Behind) -> None:
    _admit([b"evidence"])
    with store.admit([b"evidence"]) as stored:
        assert store.discard(stored.sha256, lambda sha256: False)  # its last evidence went just now
        assert behind.everything() == [f"incoming/{stored.draft.name}"]  # type: ignore[union-attr]
        with transaction.atomic():
            store.hold(stored)
    assert behind.everything() == [stored.key]
    assert store.matches(stored.key, stored.sha256)


def test_content_is_discarded_only_when_nobody_holds_it(behind: Behind) -> None:
    stored = _admit([b"evidence"])
    assert not store.discard(stored.sha256, lambda sha256: True)
    assert behind.everything() == [stored.key]
    assert store.discard(stored.sha256, lambda sha256: False)
    assert store.discard(stored.sha256, lambda sha256: False)  # twice is once
    assert behind.everything() == []


def test_changed_content_is_noticed_and_replaced_when_it_comes_in_whole(behind: Behind, caplog) -> None:
    stored = _admit([b"evidence"])
    for damage in (b"evidenCe", b"evid", b"", b"evidence and more"):
        behind.change(stored.sha256, damage)
        assert not store.matches(stored.key, stored.sha256)
        _admit([b"evidence"])
        assert behind.read(stored.sha256) == b"evidence"
        assert store.matches(stored.key, stored.sha256)
    assert caplog.text.count("was replaced by an intact copy") == 4
    behind.remove(stored.sha256)
    assert not store.matches(stored.key, stored.sha256)


def test_only_keys_of_ours_are_asked_for(behind: Behind) -> None:
    digest = "a" * 64
    hostile = (
        None,
        "",
        "/etc/passwd",
        "../x",
        f"sha256/bb/{digest}",
        f"sha256/aa/../{digest}",
        f"sha256/aa/{digest}/../../x",
        f"sha256/aa/{digest}\n",
        f"sha256/aa/{digest}\0",
        f"sha256/AA/{digest.upper()}",
        "sha256/aa/A",
    )
    for key in hostile:
        for ask in (store.path, store.open_content, lambda key: store.matches(key, digest)):
            with pytest.raises(store.NotSealed):
                ask(key)


def test_a_stream_over_content_reads_anywhere(behind: Behind) -> None:
    content = os.urandom(300_000)
    with store.open_content(_admit([content]).key) as raw:
        assert raw.read(10) == content[:10]
        assert (raw.seek(0, os.SEEK_END), raw.read(10)) == (len(content), b"")
        file = io.BufferedReader(raw)
        for start, length in ((299_990, 100), (0, 70_000), (131_071, 2), (65_535, 200_000), (5, 0)):
            file.seek(start)
            assert file.read(length) == content[start : start + length]
        file.seek(0)
        assert file.read() == content
    with pytest.raises(store.Absent):
        store.open_content(_key(b"never came in"))


def test_content_that_changes_while_it_is_read_is_no_content(behind: Behind) -> None:
    """A file that is open stays what it was; of a bucket the rest is not taken for the whole."""
    content = os.urandom(300_000)
    stored = _admit([content])
    with store.open_content(stored.key) as file:
        assert file.read(100) == content[:100]
        behind.remove(stored.sha256)
        _admit([content])
        behind.change(stored.sha256, b"x" * 300_000)
        file.seek(200_000)
        if behind.is_bucket:
            with pytest.raises(store.Absent):
                file.read(100)
        else:
            assert file.read(100) == content[200_000:200_100]


def test_a_folder_without_its_volume_is_no_lost_evidence(settings) -> None:
    stored = _admit([b"evidence"])
    settings.EVIDENCE_ROOT = settings.EVIDENCE_ROOT / "not mounted"
    for ask in (lambda: store.matches(stored.key, stored.sha256), lambda: store.open_content(stored.key)):
        with pytest.raises(store.StoreDown, match="mounted"):
            ask()


def test_links_and_pipes_in_the_place_of_content_are_not_followed(settings, tmp_path: Path) -> None:
    stored = _admit([b"evidence"])
    path = store.path(stored.key)
    secret = tmp_path / "secret"
    secret.write_bytes(b"evidence")
    ways: list[Callable[[], None]] = [lambda: path.symlink_to(secret), lambda: os.mkfifo(path), path.mkdir]
    for make in ways:
        path.unlink()
        make()
        assert not store.matches(stored.key, stored.sha256)
        with pytest.raises(store.Absent):
            store.open_content(stored.key)


def test_a_volume_without_hard_links_says_what_is_needed(tmp_path: Path, monkeypatch) -> None:
    def link(source: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(store.StoreDown, match="hard links"):
        _admit([b"evidence"])


def test_the_sweep_removes_what_a_dead_process_left_and_nothing_alive(behind: Behind, settings) -> None:
    settled = _admit([b"settled"])
    here = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
    a_draft(settings, f"{here}-dead", b"part", age=3600)
    a_draft(settings, f"{here}-young", b"part", age=10)
    a_draft(settings, "cafebabe-elsewhere", b"part", age=3600)
    a_draft(settings, "cafebabe-long-dead", b"part", age=25 * 3600)
    (settings.EVIDENCE_ROOT / "incoming" / "folder").mkdir()
    begun, go = threading.Event(), threading.Event()

    def slow() -> Iterator[bytes]:
        yield b"first"
        begun.set()
        go.wait(10)
        yield b"second"

    thread = threading.Thread(target=_admit, args=(slow(),))
    thread.start()
    begun.wait(10)
    (alive,) = (path for path in (settings.EVIDENCE_ROOT / "incoming").iterdir() if len(path.name) == 41)
    os.utime(alive, (time.time() - 3600,) * 2)
    assert store.sweep() == 2
    go.set()
    thread.join()
    assert behind.everything() == sorted(
        [
            "incoming/cafebabe-elsewhere",
            f"incoming/{here}-young",
            settled.key,
            _key(b"firstsecond"),
        ]
    )


def test_memory_stays_flat_at_any_size(settings) -> None:
    block = b"\x00" * BLOCK
    _admit([block])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    stored = _admit(block for _ in range(300))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert stored.size == 300 * BLOCK
    assert grown < 30 * 1024  # KiB


def test_many_at_once_agree_on_one_copy(behind: Behind) -> None:
    results: list[store.Stored] = []
    threads = [threading.Thread(target=lambda: results.append(_admit([b"x" * BLOCK]))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert len(set(results)) == 1
    assert behind.everything() == [results[0].key]


def _hold_late(pause: float) -> str:
    try:
        with store.admit([b"wanted and unwanted"]) as stored, transaction.atomic():
            time.sleep(pause)
            store.hold(stored)
            time.sleep(0.05)
            assert store.place().size(stored.key) == stored.size
            return stored.sha256
    finally:
        connections.close_all()


@pytest.mark.django_db(transaction=True)
def test_content_that_some_hold_and_others_discard_is_there_for_those_who_hold_it(behind: Behind) -> None:
    """The lock of the database: while one transaction holds content, no other one removes it."""
    sha256 = hashlib.sha256(b"wanted and unwanted").hexdigest()
    stop = threading.Event()

    def discard() -> None:
        try:
            while not stop.is_set():
                store.discard(sha256, lambda sha256: False)
                time.sleep(0.03)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        remover = pool.submit(discard)
        try:
            held = [found for _ in range(3) for found in pool.map(_hold_late, (0, 0.02, 0.04))]
        finally:
            stop.set()
        remover.result()
    assert held == [sha256] * 9


def test_the_probe_asks_the_place_and_leaves_nothing(behind: Behind, django_assert_num_queries) -> None:
    with django_assert_num_queries(0):
        assert "gives back what it is given" in store.probe()
    assert behind.everything() == []


def test_a_place_is_a_path_or_a_bucket(tmp_path: Path) -> None:
    place = store.place_at(f"file://{tmp_path}")
    assert isinstance(place, Folder)
    assert place.root == tmp_path.resolve()
    hostile = ("ftp://x/y", "s3://", "s3://b/../x", "s3://key:secret@b/x", "s3://b/x?key=1", "s3://b/x#y", "")
    for url in hostile:
        with pytest.raises(ValueError, match=r"expected|prefix|may stand"):
            store.place_at(url)
