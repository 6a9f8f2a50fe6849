"""The routes of evidence: uploads in every shape, downloads in every range."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from rest_framework.test import APIClient

from cases import services, store
from cases.models import Evidence, TaskRun
from cases.tests.api.cast import V1, a_file, client_of, errors, person, staffed_case
from cases.tests.cast import a_case, receive

pytestmark = pytest.mark.django_db

EVIDENCE = f"{V1}/cases/ir-2024-001/evidence/"
_BOUNDARY = "----b0undary"


def _part(name: str, content: bytes, filename: str | None = None) -> bytes:
    file = f'; filename="{filename}"' if filename is not None else ""
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
    return head.encode("utf-8", "surrogateescape") + content + b"\r\n"


_END = f"--{_BOUNDARY}--\r\n".encode()


def _send(client: Any, body: bytes, boundary: str = _BOUNDARY, **headers: Any) -> Any:
    content_type = f"multipart/form-data; boundary={boundary}"
    return client.generic("POST", EVIDENCE, body, content_type=content_type, **headers)


def _left() -> list[Path]:
    root: Path = settings.EVIDENCE_ROOT
    return [place for place in root.rglob("*") if place.is_file() and "locks" not in place.parts]


def _headers(answer: Any) -> Any:
    """Return the headers of a download that was read to its end, as a client does."""
    assert len(b"".join(answer.streaming_content)) == int(answer["Content-Length"])
    return answer.headers


class TestUpload:
    """POST evidence/."""

    def test_a_file_becomes_evidence_with_its_hash_and_a_run(self) -> None:
        staffed_case()
        facts = {
            "host": "web-01",
            "time_zone": "Europe/Berlin",
            "clock_offset_seconds": "-1.5",
            "description": "d",
        }
        answer = client_of("dana").post(EVIDENCE, {"file": a_file(), **facts})
        assert answer.status_code == 201
        body = answer.json()
        assert body["sha256"] == hashlib.sha256(b"hello").hexdigest()
        assert (body["original_name"], body["size"], body["duplicate"]) == ("a.log", 5, False)
        assert (body["host"], body["time_zone"], body["clock_offset_seconds"]) == (
            "web-01",
            "Europe/Berlin",
            -1.5,
        )
        assert (body["added_by"], body["description"], body["case_id"]) == ("dana", "d", "ir-2024-001")
        assert [(run["status"], run["counts"]["read"]) for run in body["runs"]] == [("queued", 0)]
        shown = client_of("bob").get(f"{EVIDENCE}{body['evidence_uid']}/").json()
        assert shown == {name: value for name, value in body.items() if name != "duplicate"}

    @pytest.mark.parametrize("order", ["before", "after", "around"])
    def test_fields_may_stand_before_the_file_or_behind_it(self, order: str) -> None:
        staffed_case()
        host, zone = _part("host", b"web-01"), _part("time_zone", b"Asia/Tokyo")
        file = _part("file", b"hello", "a.log")
        body = {"before": host + zone + file, "after": file + host + zone, "around": host + file + zone}[
            order
        ]
        shown = _send(client_of("dana"), body + _END).json()
        assert (shown["host"], shown["time_zone"], shown["size"]) == ("web-01", "Asia/Tokyo", 5)

    def test_the_same_bytes_again_are_recognised(self) -> None:
        staffed_case()
        client = client_of("dana")
        first = client.post(EVIDENCE, {"file": a_file()}).json()
        again = client.post(EVIDENCE, {"file": a_file(name="other.log")})
        assert (again.status_code, again.json()["duplicate"]) == (200, True)
        assert again.json()["evidence_uid"] == first["evidence_uid"]
        assert (Evidence.objects.count(), TaskRun.objects.count()) == (1, 1)

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\r\n",
            b"--",
            b"\r\n--" + _BOUNDARY[:-1].encode(),
            b"\r\n--" * 100_000,
            bytes(range(256)) * 5000,
            b"x" * (256 * 1024 - 3) + b"\r\n-",
            f"x--{_BOUNDARY}\r\n".encode(),
        ],
        ids=["empty", "line", "dashes", "nearly", "many", "bytes", "at-a-block", "inside-a-line"],
    )
    def test_every_byte_arrives_whatever_they_are(self, content: bytes) -> None:
        staffed_case()
        answer = _send(client_of("dana"), _part("file", content, "a") + _END)
        assert answer.status_code == 201
        assert (answer.json()["sha256"], answer.json()["size"]) == (
            hashlib.sha256(content).hexdigest(),
            len(content),
        )

    @pytest.mark.parametrize(
        ("name", "kept"),
        [
            ("../../etc/passwd", "../../etc/passwd"),
            (r"C:\logs\a.log", r"C:\logs\a.log"),
            ("<script>alert(1)</script>", "<script>alert(1)</script>"),
            ('a\\"b.log', 'a"b.log'),
            ("Ünïcode \U0001f4a3.log", "Ünïcode \U0001f4a3.log"),
            ("no\udcffutf8", "no\\udcffutf8"),
            ("n\x00ul", "n\u2400ul"),
            ("", ""),
            ("x" * 3000, "x" * 1024),
        ],
    )
    def test_a_name_is_data_and_never_a_path(self, name: str, kept: str) -> None:
        staffed_case()
        body = _send(client_of("dana"), _part("file", b"hello", name) + _END).json()
        assert body["original_name"] == kept
        assert [place.name for place in _left()] == [hashlib.sha256(b"hello").hexdigest()]
        uid = body["evidence_uid"]
        download = client_of("bob").get(f"{EVIDENCE}{uid}/download/")
        assert download.status_code == 200
        assert b"".join(download.streaming_content) == b"hello"
        assert not {"/", "\\", "\r", "\n", "\x00"} & set(
            download["Content-Disposition"].replace('\\"', "").replace("\\\\", "")
        )

    def test_an_upload_cut_anywhere_leaves_nothing_behind(self) -> None:
        staffed_case()
        client = client_of("dana")
        body = (
            _part("host", b"web-01")
            + _part("file", b"hello" * 20, "a.log")
            + _part("description", b"d")
            + _END
        )
        for cut in range(1, len(body) - 3, 7):
            answer = _send(client, body[:cut])
            assert answer.status_code == 400, cut
            assert errors(answer) == [("incomplete", "file")], cut
            assert not Evidence.objects.exists()
            assert _left() == []
        assert _send(client, body).status_code == 201

    def test_what_makes_no_sense_is_refused_and_leaves_nothing(self) -> None:
        staffed_case()
        client, file = client_of("dana"), _part("file", b"hello", "a.log")
        wrong: dict[bytes, tuple[str, str | None]] = {
            _part("host", b"x") + _END: ("required", "file"),
            _END: ("required", "file"),
            _part("time_zone", b"Mars/Olympus") + file + _END: ("invalid", "time_zone"),
            file + _part("time_zone", b"Mars/Olympus") + _END: ("invalid", "time_zone"),
            file + _part("clock_offset_seconds", b"soon") + _END: ("invalid", "clock_offset_seconds"),
            file + _part("clock_offset_seconds", b"nan") + _END: ("invalid", "clock_offset_seconds"),
            file + _part("time_zome", b"UTC") + _END: ("unknown_field", "time_zome"),
            _part("time_zome", b"UTC") + file + _END: ("unknown_field", "time_zome"),
            file + file + _END: ("malformed_multipart", "file"),
            _part("host", b"a") + file + _part("host", b"b") + _END: ("malformed_multipart", "host"),
            _part("host", b"\xff") + file + _END: ("malformed_multipart", "host"),
            file.replace(b"form-data", b"attachment") + _END: ("malformed_multipart", None),
            file.replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n") + _END: (
                "malformed_multipart",
                "file",
            ),
            _part("host", b"x" * 300_000) + file + _END: ("too_large", "host"),
            b"--" + _BOUNDARY.encode() + b"\r\nX: " + b"y" * 400_000: ("malformed_multipart", None),
        }
        for body, (code, attr) in wrong.items():
            answer = _send(client, body)
            assert answer.status_code == (413 if code == "too_large" else 400), body[:200]
            found_code, found_attr = errors(answer)[0]
            assert (found_code, found_attr) in ((code, attr), (code, attr or "non_field_errors")), body[:200]
            assert not Evidence.objects.exists()
            assert _left() == []

    def test_a_body_that_is_no_form_is_refused(self) -> None:
        staffed_case()
        client = client_of("dana")
        assert client.post(EVIDENCE, {"file": "x"}, format="json").status_code == 415
        bare = client.generic("POST", EVIDENCE, b"x", content_type="multipart/form-data")
        assert (bare.status_code, errors(bare)[0][0]) == (400, "malformed_multipart")
        empty = _send(client, b"")
        assert (empty.status_code, errors(empty)) == (400, [("required", "file")])

    def test_more_than_is_accepted_is_a_413_before_and_while_it_arrives(self, settings: Any) -> None:
        staffed_case()
        client = client_of("dana")
        settings.UPLOAD_LIMIT = 100
        for size in (101, 3_000_000):
            answer = _send(client, _part("file", b"x" * size, "a") + _END)
            assert (answer.status_code, errors(answer)) == (413, [("too_large", "file")])
        assert _left() == []
        assert _send(client, _part("file", b"x" * 100, "a") + _END).status_code == 201

    def test_a_full_disk_is_a_503_before_the_first_byte(self, settings: Any) -> None:
        staffed_case()
        settings.EVIDENCE_RESERVE = 2**62
        answer = client_of("dana").post(EVIDENCE, {"file": a_file()})
        assert (answer.status_code, errors(answer)) == (503, [("no_space", None)])
        assert int(answer["Retry-After"]) > 0

    def test_readers_strangers_and_closed_cases_take_nothing_in(self) -> None:
        case = staffed_case()
        for name, status in (("bob", 403), ("charlie", 404)):
            assert client_of(name).post(EVIDENCE, {"file": a_file()}).status_code == status
        services.close_case(case=case, by=person("alice"))
        answer = client_of("dana").post(EVIDENCE, {"file": a_file()})
        assert (answer.status_code, errors(answer)) == (409, [("case_closed", None)])
        assert _left() == []

    def test_a_key_answers_the_same_again_and_nothing_else(self) -> None:
        staffed_case()
        client, key = client_of("dana"), {"HTTP_IDEMPOTENCY_KEY": "k-1"}
        first = client.post(EVIDENCE, {"file": a_file()}, **key)
        again = client.post(EVIDENCE, {"file": a_file()}, **key)
        assert (first.status_code, again.status_code) == (201, 201)
        assert again.json() == first.json()
        other = client.post(EVIDENCE, {"file": a_file(b"other")}, **key)
        assert (other.status_code, errors(other)) == (409, [("idempotency_conflict", None)])
        assert Evidence.objects.count() == 1
        assert len(_left()) == 1

    def test_a_browser_session_uploads_with_the_token_in_a_header(self) -> None:
        staffed_case()
        client = APIClient(enforce_csrf_checks=True)
        client.force_login(person("dana"))
        assert client.post(EVIDENCE, {"file": a_file()}).status_code == 403
        client.cookies["csrftoken"] = "a" * 32
        answer = client.post(EVIDENCE, {"file": a_file()}, HTTP_X_CSRFTOKEN="a" * 32)
        assert answer.status_code == 201


class TestAbout:
    """What is said about evidence, and its end."""

    def test_a_change_of_time_zone_reads_it_again(self) -> None:
        uid = receive(staffed_case(), b"a").evidence.evidence_uid
        TaskRun.objects.update(status="succeeded")
        answer = client_of("dana").patch(f"{EVIDENCE}{uid}/", {"time_zone": "Asia/Tokyo"}, format="json")
        assert (answer.status_code, answer.json()["time_zone"]) == (200, "Asia/Tokyo")
        assert [run["status"] for run in answer.json()["runs"]] == ["queued", "succeeded"]

    def test_what_may_not_change_is_refused(self) -> None:
        uid = receive(staffed_case(), b"a").evidence.evidence_uid
        client = client_of("dana")
        for body in ({"sha256": "0" * 64}, {"size": 1}, {"time_zone": "x"}, {"clock_offset_seconds": 1e300}):
            assert client.patch(f"{EVIDENCE}{uid}/", body, format="json").status_code == 400
        assert client_of("bob").patch(f"{EVIDENCE}{uid}/", {}, format="json").status_code == 403

    def test_evidence_of_another_case_is_not_reached_through_mine(self) -> None:
        staffed_case()
        other = receive(a_case("ir-other"), b"other").evidence
        address = f"{EVIDENCE}{other.evidence_uid}/"
        client = client_of("dana")
        assert client.get(address).status_code == 404
        assert client.delete(address).status_code == 404
        assert client.get(f"{address}download/").status_code == 404
        assert client.post(f"{address}runs/").status_code == 404

    def test_deleting_removes_bytes_and_evidence(self) -> None:
        uid = receive(staffed_case(), b"a").evidence.evidence_uid
        assert client_of("bob").delete(f"{EVIDENCE}{uid}/").status_code == 403
        assert client_of("dana").delete(f"{EVIDENCE}{uid}/").status_code == 204
        assert client_of("dana").get(f"{EVIDENCE}{uid}/").status_code == 404

    def test_it_is_read_again_by_a_module_of_choice(self) -> None:
        uid = receive(staffed_case(), b"a").evidence.evidence_uid
        client = client_of("dana")
        busy = client.post(f"{EVIDENCE}{uid}/runs/", {}, format="json")
        assert (busy.status_code, errors(busy)) == (409, [("run_unfinished", None)])
        TaskRun.objects.update(status="failed")
        wrong = client.post(f"{EVIDENCE}{uid}/runs/", {"module": "nothing"}, format="json")
        assert (wrong.status_code, errors(wrong)[0][1]) == (400, "module")
        name = client.get(f"{V1}/modules/").json()["results"][0]["name"]
        answer = client.post(f"{EVIDENCE}{uid}/runs/", {"module": name}, format="json")
        assert (answer.status_code, answer.json()["module"], answer.json()["status"]) == (201, name, "queued")
        TaskRun.objects.update(status="failed")
        assert client.post(f"{EVIDENCE}{uid}/runs/").status_code == 201

    @pytest.mark.parametrize("name", ["\x00", "\ud800", "", "a b"])
    def test_an_option_has_a_word_for_a_name(self, name: str) -> None:
        uid = receive(staffed_case(), b"a").evidence.evidence_uid
        TaskRun.objects.update(status="failed")
        body = json.dumps({"options": {name: "x"}})
        refused = client_of("dana").post(f"{EVIDENCE}{uid}/runs/", body, content_type="application/json")
        assert (refused.status_code, errors(refused)) == (400, [("invalid", "options")])


class TestDownload:
    """GET …/download/."""

    _CONTENT = bytes(range(256)) * 4000

    def _address(self) -> str:
        uid = receive(staffed_case(), self._CONTENT, "a.log").evidence.evidence_uid
        return f"{EVIDENCE}{uid}/download/"

    def test_it_is_a_file_to_save_with_its_digest(self) -> None:
        answer = client_of("bob").get(self._address())
        assert b"".join(answer.streaming_content) == self._CONTENT
        assert answer["Content-Disposition"] == 'attachment; filename="a.log"'
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert answer["Content-Security-Policy"] == "sandbox; default-src 'none'"
        digest = b64encode(hashlib.sha256(self._CONTENT).digest()).decode()
        assert answer["Repr-Digest"] == f"sha-256=:{digest}:"
        assert int(answer["Content-Length"]) == len(self._CONTENT)
        assert answer["Content-Type"] == "application/octet-stream"

    @pytest.mark.parametrize(
        ("asked", "begin", "end"),
        [
            ("bytes=0-0", 0, 1),
            ("bytes=5-9", 5, 10),
            ("bytes=1000000-", 1_000_000, 1_024_000),
            ("bytes=-1", 1_023_999, 1_024_000),
            ("bytes=1023999-99999999999", 1_023_999, 1_024_000),
            ("bytes=0-", 0, 1_024_000),
            ("Bytes=1-" + "9" * 30, 1, 1_024_000),
            ("bytes=-9999999", 0, 1_024_000),
        ],
    )
    def test_a_range_is_a_206(self, asked: str, begin: int, end: int) -> None:
        answer = client_of("bob").get(self._address(), HTTP_RANGE=asked)
        assert answer.status_code == 206
        assert b"".join(answer.streaming_content) == self._CONTENT[begin:end]
        assert answer["Content-Range"] == f"bytes {begin}-{end - 1}/{len(self._CONTENT)}"
        assert int(answer["Content-Length"]) == end - begin

    @pytest.mark.parametrize(
        "asked",
        [
            "bytes=5-4",
            "bytes=-",
            "bytes=a-b",
            "lines=1-2",
            "bytes=0-1,3-4",
            "bytes=--1",
            "bytes=٣-",
        ],
    )
    def test_what_is_no_single_range_gets_the_whole(self, asked: str) -> None:
        answer = client_of("bob").get(self._address(), HTTP_RANGE=asked)
        assert answer.status_code == 200
        assert int(_headers(answer)["Content-Length"]) == len(self._CONTENT)

    @pytest.mark.parametrize("asked", ["bytes=1024000-", "bytes=9999999-99999999", "bytes=-0"])
    def test_a_range_beyond_the_end_is_a_416(self, asked: str) -> None:
        answer = client_of("bob").get(self._address(), HTTP_RANGE=asked)
        assert (answer.status_code, answer["Content-Range"]) == (416, f"bytes */{len(self._CONTENT)}")

    def test_a_range_of_something_else_gets_the_whole(self) -> None:
        address, client = self._address(), client_of("bob")
        etag = _headers(client.get(address))["ETag"]
        for stated, status in ((etag, 206), ('"other"', 200)):
            answer = client.get(address, HTTP_RANGE="bytes=0-0", HTTP_IF_RANGE=stated)
            assert answer.status_code == status
            _headers(answer)

    def test_bytes_that_changed_are_not_sent(self) -> None:
        address, client = self._address(), client_of("bob")
        evidence = Evidence.objects.get()
        place = store.path(evidence.local_path)
        place.unlink()
        refused = client.get(address)
        assert (refused.status_code, errors(refused)) == (409, [("source_unavailable", None)])
        services.check_evidence(evidence=evidence)
        assert client.get(address).status_code == 409
