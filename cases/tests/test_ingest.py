"""`manage.py ingest` as a process: what it takes, what it says, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from functools import partial
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from cases import custody, services, tasks
from cases.ingest import find
from cases.models import Case, CustodyEntry, Evidence, RunStatus, TaskRun
from cases.tests.cast import a_case, actions, alice, indexed, receive
from cases.tests.worker_process import call, running, start, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("hostile_parsers")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty directory."""
    place = tmp_path / "in"
    place.mkdir()
    return place


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with evidence, and with what is none."""
    top = tmp_path / "files"
    (top / "sub" / "deep").mkdir(parents=True)
    (top / "b.log").write_bytes(b"good 110")
    (top / "sub" / "deep" / "a.log").write_bytes(b"good 20")
    (top / "sub" / "link").symlink_to(top / "b.log")
    os.mkfifo(top / "fifo")
    return top


def test_a_directory_is_walked_and_every_file_accounted_for(files: Path) -> None:
    done = call("ingest", "ir-1", files, "--create", "--host", "ws-1", "--time-zone", "Europe/Paris")
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[:3]] == [
        str(files / name) for name in ("b.log", "fifo", "sub/deep/a.log")
    ]
    assert "refused" in lines[1]
    assert "device, pipe or socket" in lines[1]
    assert lines[3] == "read=131 indexed=130 duplicate=0 rejected=1 undated=13"
    assert done.returncode == 1
    assert "1 of 3 files could not be read" in done.stderr
    case = Case.objects.get(case_id="ir-1")
    assert len(indexed(case)) == 130
    kept = {
        (held.original_name, held.description, held.host, held.time_zone) for held in Evidence.objects.all()
    }
    assert kept == {
        ("b.log", "b.log", "ws-1", "Europe/Paris"),
        ("a.log", "sub/deep/a.log", "ws-1", "Europe/Paris"),
    }
    assert actions(case)[0] == "case.opened"
    assert CustodyEntry.objects.get(action="case.opened").actor.startswith("command line (")


def test_without_trouble_the_exit_code_is_zero_and_progress_goes_to_stderr(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"good 10")
    done = call("ingest", "ir-1", tmp_path / "a", "--create")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "read=10 indexed=10 duplicate=0 rejected=0 undated=1"
    assert "Traceback" not in done.stderr


def test_json_is_one_object_a_file_and_nothing_else(files: Path) -> None:
    done = call("ingest", "ir-1", files, files / "missing", "--create", "--json")
    good, fifo, deep, missing = (json.loads(line) for line in done.stdout.splitlines())
    assert good["path"] == str(files / "b.log")
    assert good["status"] == "succeeded"
    assert good["counts"] == {"read": 111, "indexed": 110, "duplicate": 0, "rejected": 1, "undated": 11}
    assert good["sha256"] == Evidence.objects.get(evidence_uid=good["evidence_uid"]).sha256
    assert good["seconds"] > 0
    assert good["error"] is None
    assert deep["status"] == "succeeded"
    for refused in (fifo, missing):
        assert (refused["status"], refused["evidence_uid"], refused["sha256"]) == ("refused", None, None)
        assert refused["error"]
    assert done.returncode == 1


def test_the_same_bytes_are_recognised_and_read_once(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(b"good 30")
    done = call("ingest", "ir-1", tmp_path / "one", tmp_path / "two", "--create", "--json")
    assert done.returncode == 0
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert (first["duplicate"], second["duplicate"]) == (False, True)
    assert first["evidence_uid"] == second["evidence_uid"]
    again = call("ingest", "ir-1", tmp_path / "one")
    assert again.returncode == 0
    assert "already there" in again.stdout
    assert TaskRun.objects.count() == 1
    assert len(indexed(Case.objects.get())) == 30


def test_what_failed_before_is_tried_again(tmp_path: Path, settings) -> None:
    (tmp_path / "a").write_bytes(b"good 10")
    settings.PARSERS_MODULE = "cases.parsers"
    assert call("ingest", "ir-1", tmp_path / "a", "--create").returncode == 1
    settings.PARSERS_MODULE = "cases.tests.hostile"
    assert call("ingest", "ir-1", tmp_path / "a").returncode == 0
    states = list(TaskRun.objects.order_by("pk").values_list("status", flat=True))
    assert states == [RunStatus.FAILED, RunStatus.SUCCEEDED]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no-such-case", "a"], "There is no case no-such-case; --create opens it."),
        (["../x", "a", "--create"], "A case id has 1 to 64 letters"),
        (["ir-1", "a", "--create", "--time-zone", "Mars/Olympus"], "'Mars/Olympus' is no time zone"),
        (["ir-1", "a", "--create", "--module", "magic"], "No module is called 'magic'"),
        (["ir-1", "a", "--create", "--jobs", "0"], "--jobs: expected a number from 1 to 64."),
        (["ir-1", "a", "--create", "--user", "nobody@example.org"], "There is no user nobody@example.org"),
        (["ir-1", "a", "--create", "--option", "day_first"], "--option: expected NAME=VALUE"),
        (["ir-1"], "FILE"),
        (["ir-1", "missing", "--create"], "No such file or directory"),
        (["ir-1", "empty", "--create"], "0 of 0 files"),
    ],
)
def test_nonsense_is_refused_with_a_reason(
    folder: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "a").write_bytes(b"good 1")
    (folder / "empty").mkdir()
    given = [str(folder / word) if word in ("a", "missing", "empty") else word for word in arguments]
    with pytest.raises(CommandError) as refusal:
        call_command("ingest", *given)
    assert words in str(refusal.value) + capsys.readouterr().out
    assert TaskRun.objects.count() == 0


def test_choices_for_the_parser_reach_the_run_and_other_choices_read_again(folder: Path) -> None:
    (folder / "a").write_bytes(b"good 1")
    once: list[str | Path] = [
        "ingest",
        "ir-1",
        folder / "a",
        "--create",
        "--option",
        "timestamp=When",
        "--option",
        "delimiter=;",
    ]
    for _ in range(2):
        assert call(*once).returncode == 0
    assert call("ingest", "ir-1", folder / "a", "--option", "timestamp=Date").returncode == 0
    chosen = [run.options for run in TaskRun.objects.order_by("pk")]
    assert chosen == [{"timestamp": "When", "delimiter": ";"}, {"timestamp": "Date"}]


def test_a_call_that_is_not_understood_ends_with_two_and_a_refusal_with_one(folder: Path) -> None:
    done = [call("ingest", "ir-1"), call("ingest", "ir-1", folder)]
    assert [process.returncode for process in done] == [2, 1]
    assert not any("Traceback" in process.stderr for process in done)


def test_a_closed_case_takes_nothing(tmp_path: Path) -> None:
    services.close_case(case=a_case("ir-1"), by=alice())
    (tmp_path / "a").write_bytes(b"good 1")
    done = call("ingest", "ir-1", tmp_path / "a")
    assert (done.returncode, Evidence.objects.count()) == (1, 0)
    assert "is closed" in done.stdout


def test_ctrl_c_cancels_what_has_not_ended_and_says_so(folder: Path) -> None:
    for number in (60_000, 60_001, 60_002):
        (folder / str(number)).write_bytes(f"slow {number}".encode())
    with running("ingest", "ir-1", folder, "--create", "--jobs", "1") as process:
        wait_until(lambda: TaskRun.objects.filter(records_read__gt=0).exists())
        wait_until(lambda: TaskRun.objects.count() == 3)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=15)
    assert process.returncode == 130
    assert "Cancelled; what had not ended was not read." in err
    assert "Traceback" not in err
    assert set(TaskRun.objects.values_list("status", flat=True)) == {RunStatus.CANCELLED}
    assert indexed(Case.objects.get()) == []


def test_a_run_that_a_worker_took_is_waited_for(folder: Path) -> None:
    for number in range(4):
        (folder / str(number)).write_bytes(f"slow {300 + number}".encode())
    with running("worker"):
        wait_until(lambda: tasks.worker_state().alive)
        done = call("ingest", "ir-1", folder, "--create", "--jobs", "1")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "read=1206 indexed=1206 duplicate=0 rejected=0 undated=0"
    assert set(TaskRun.objects.values_list("attempt", flat=True)) == {1}


def test_five_at_once_open_one_case_and_take_in_each_file_once(folder: Path) -> None:
    for number in range(3):
        (folder / str(number)).write_bytes(f"good {10 + number}".encode())
    started = [start("ingest", "ir-1", folder, "--create", "--json") for _ in range(5)]
    said = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0] * 5, said
    assert Case.objects.count() == 1
    assert (Evidence.objects.count(), TaskRun.objects.count()) == (3, 3)
    objects = [json.loads(line) for out, _ in said for line in out.splitlines()]
    assert sum(not entry["duplicate"] for entry in objects) == 3
    assert len(indexed(Case.objects.get())) == 33
    assert actions(Case.objects.get()).count("case.opened") == 1


def test_hostile_file_names_stay_data(folder: Path) -> None:
    names = ["<script>alert(1)<", "\x1b[31mred", "-rf", "new\nline", "caf\udce9", "=cmd|' C calc'!A0"]
    for number, name in enumerate(names, start=1):
        (folder / name).write_bytes(f"good {number}".encode())
    done = call("ingest", "ir-1", folder, "--create")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert len(done.stdout.splitlines()) == len(names) + 1
    kept = set(Evidence.objects.values_list("original_name", flat=True))
    assert kept == {custody.storable(name) for name in names}


def test_a_user_is_named_in_the_record(tmp_path: Path) -> None:
    alice()
    (tmp_path / "a").write_bytes(b"good 1")
    assert call("ingest", "ir-1", tmp_path / "a", "--create", "--user", "alice@example.org").returncode == 0
    assert {entry.actor for entry in CustodyEntry.objects.filter(action__startswith="evidence")} == {
        "alice <alice@example.org>"
    }
    assert Evidence.objects.get().added_by == alice()


def test_find_names_what_it_cannot_look_at(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (named,) = find([tmp_path / "loop"])
    assert named.path == tmp_path / "loop"
    assert list(find([tmp_path])) == []


def test_devices_sockets_and_loops_are_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    place = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place))
        begun = time.monotonic()
        done = call(
            "ingest", "ir-1", "/dev/zero", "/dev/null", place, tmp_path / "loop", "--create", "--json"
        )
    assert time.monotonic() - begun < 15
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert [outcome["status"] for outcome in outcomes] == ["refused"] * 4
    assert all(outcome["error"] for outcome in outcomes)
    assert Evidence.objects.count() == 0


def test_evidence_that_waits_since_an_upload_is_read_by_the_next_ingest_of_it(tmp_path: Path) -> None:
    case = a_case("ir-1")
    received = receive(case, b"good 15")
    (tmp_path / "a").write_bytes(b"good 15")
    done = call("ingest", "ir-1", tmp_path / "a")
    assert done.returncode == 0
    assert received.run is not None
    received.run.refresh_from_db()
    assert received.run.status == RunStatus.SUCCEEDED
    assert wait_until(partial(indexed, case)) != []
