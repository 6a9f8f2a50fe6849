"""What every route keeps: one shape of errors, strict JSON, request ids, downloads."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.exceptions import Throttled
from rest_framework.views import APIView

from cases.tests.api.cast import V1, client_of, errors, person, staffed_case
from datamortem.common import multipart
from datamortem.common.downloads import as_download
from datamortem.common.errors import Conflict, Invalid, Missing, TooLarge, Unavailable
from datamortem.common.multipart import Incomplete, Upload
from datamortem.common.wire import dump

pytestmark = pytest.mark.django_db


class TestErrors:
    """One shape, whatever refuses."""

    @pytest.mark.parametrize(
        ("refusal", "status", "kind", "code", "attr"),
        [
            (Invalid("x", field="q"), 400, "validation_error", "invalid", "q"),
            (Invalid("x"), 400, "validation_error", "invalid", "non_field_errors"),
            (Conflict("x"), 409, "client_error", "conflict", None),
            (Conflict("x", field="role"), 409, "client_error", "conflict", "role"),
            (TooLarge("x", field="file"), 413, "client_error", "too_large", "file"),
            (Missing("it is Alice's"), 404, "client_error", "not_found", None),
            (Unavailable("x"), 503, "server_error", "unavailable", None),
            (Throttled(wait=7), 429, "client_error", "throttled", None),
            (ValueError("a secret"), 500, "server_error", "error", None),
        ],
    )
    def test_a_refusal_becomes_its_status(
        self,
        monkeypatch: pytest.MonkeyPatch,
        refusal: Exception,
        status: int,
        kind: str,
        code: str,
        attr: str | None,
    ) -> None:
        def refuse(view: APIView, request: Any, *args: Any, **kwargs: Any) -> None:
            raise refusal

        client = client_of("alice")
        monkeypatch.setattr("accounts.api.me.MeView.get", refuse)
        answer = client.get(f"{V1}/me/")
        assert (answer.status_code, answer.json()["type"]) == (status, kind)
        assert errors(answer) == [(code, attr)]
        assert ("Retry-After" in answer) == (status in (429, 503))
        assert "secret" not in answer.content.decode()
        assert "Alice" not in answer.content.decode()

    def test_an_address_that_is_none_answers_in_the_same_shape(self) -> None:
        for address in ("/api/", "/api/v1/", "/api/v1/case", "/api/v2/cases/", "/api/v1/cases", "/api/\x00"):
            for method in ("get", "post", "delete"):
                answer = getattr(Client(), method)(address)
                assert (answer.status_code, errors(answer)) == (404, [("not_found", None)])

    def test_a_method_that_is_none_answers_in_the_same_shape(self) -> None:
        answer = client_of("alice").put(f"{V1}/cases/", {}, format="json")
        assert (answer.status_code, errors(answer)) == (405, [("method_not_allowed", None)])

    def test_a_host_that_is_not_ours_answers_in_the_same_shape(self) -> None:
        answer = Client().get(f"{V1}/me/", headers={"host": "evil.example"})
        assert (answer.status_code, errors(answer)) == (400, [("bad_request", None)])
        assert (
            Client().get("/healthz", headers={"host": "evil.example"})["Content-Type"].startswith("text/html")
        )

    def test_a_client_gets_json_whatever_it_likes_to_get(self) -> None:
        client = client_of("alice")
        for wish in ("text/html", "application/xml", "text/csv;q=0.1", "nonsense"):
            answer = client.get(f"{V1}/cases/", HTTP_ACCEPT=wish)
            assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")


class TestRequestId:
    """Every answer has one."""

    def test_a_sensible_one_is_kept_and_a_strange_one_replaced(self) -> None:
        client = client_of("alice")
        assert client.get(f"{V1}/me/", HTTP_X_REQUEST_ID="proxy-12345678")["X-Request-Id"] == "proxy-12345678"
        strange = client.get(f"{V1}/me/", HTTP_X_REQUEST_ID="a b\x1b[31m")["X-Request-Id"]
        assert len(strange) == 32
        assert Client().get("/api/nothing")["X-Request-Id"]

    def test_what_fails_is_logged_with_it(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(view: APIView, request: Any) -> None:
            raise ValueError

        client = client_of("alice")
        monkeypatch.setattr("accounts.api.me.MeView.get", fail)
        with caplog.at_level(logging.ERROR, "django.request"):
            client.get(f"{V1}/me/", HTTP_X_REQUEST_ID="proxy-12345678")
        assert any(record.exc_info for record in caplog.records)


class TestJSON:
    """What goes over the wire."""

    def test_odd_values_are_written_and_read_back(self) -> None:
        import json

        moment = datetime(2024, 3, 1, tzinfo=UTC)
        odd = {"surrogate": "\ud800", "big": 2**80, "time": moment, "nested": [{"deep": None}]}
        read = json.loads(dump(odd))
        assert read == {**odd, "time": "2024-03-01T00:00:00.000000Z"}
        assert json.loads(dump({"time": moment})) == {"time": "2024-03-01T00:00:00.000000Z"}

    @pytest.mark.parametrize("body", ["{", "nan", "\ufeff{}", '{"a": 1e999}x', "[" * 100_000, "1" * 10_000])
    def test_what_is_no_json_is_a_400(self, body: str) -> None:
        answer = client_of("alice").generic("POST", f"{V1}/cases/", body, content_type="application/json")
        assert answer.status_code == 400
        errors(answer)

    def test_integers_keep_every_digit(self) -> None:
        staffed_case()
        client = client_of("dana")
        posted = client.post(f"{V1}/cases/ir-2024-001/events/", {"message": "x", "n": 2**70}, format="json")
        assert posted.json()["accepted"] == 1
        from cases.models import Event

        assert str(2**70) in (Event.objects.get().raw or "")


class TestDownloads:
    """Names from outside are data."""

    @given(st.text(max_size=300))
    def test_no_name_breaks_out_of_its_header(self, name: str) -> None:
        from django.http import HttpResponse

        response = HttpResponse()
        as_download(response, name=name)
        header = response["Content-Disposition"]
        assert header.startswith("attachment")
        assert not set("\r\n\x00/") & set(header.replace("\\\\", ""))


class TestMultipart:
    """A form read in pieces of every size is the same form."""

    @given(content=st.binary(max_size=300), size=st.integers(1, 40), host=st.text(max_size=10))
    def test_the_size_of_reads_changes_nothing(self, content: bytes, size: int, host: str) -> None:
        boundary = b"xYz"
        text = host.encode("utf-8", "replace")
        if b"--xYz" in content or b"--xYz" in text:
            return
        body = (
            b'preamble\r\n--xYz\r\nContent-Disposition: form-data; name="host"\r\n\r\n' + text
            + b'\r\n--xYz  \r\ncontent-disposition: form-data; name="file"; filename="a;b=\\"c"\r\n'
            + b"Content-Type: text/plain\r\n\r\n" + content + b"\r\n--xYz--\r\nepilogue"
        )  # fmt: skip
        upload = Upload(_Slow(body, size), boundary)
        assert upload.open()
        assert upload.texts == {"host": text.decode()}
        assert upload.name == 'a;b="c'
        assert b"".join(upload.content()) == content
        assert upload.rest() == {}

    @given(st.binary(max_size=400))
    def test_rubbish_is_refused_and_nothing_else(self, body: bytes) -> None:
        try:
            upload = Upload(_Slow(body, 50), b"x")
            if upload.open():
                list(upload.content())
                upload.rest()
        except (Invalid, TooLarge):
            pass

    def test_a_broken_connection_is_incomplete(self) -> None:
        def broken(size: int) -> bytes:
            raise OSError("reset by peer")

        with pytest.raises(Incomplete):
            Upload(SimpleNamespace(read=broken), b"x").open()

    def test_options_of_a_header_are_read_as_browsers_write_them(self) -> None:
        read = multipart.header_options
        assert read(r'form-data; name="file"; filename="C:\logs\a.log"')["filename"] == r"C:\logs\a.log"
        assert read(r'form-data; name=file; filename="a\"b\\c"')["filename"] == r'a"b\c'
        assert read("form-data; name=f; filename=x; filename*=UTF-8''%e2%82%ac")["filename"] == "€"
        assert read("form-data") == {}


class _Slow:
    """A connection that gives a few bytes at a time."""

    def __init__(self, body: bytes, size: int) -> None:
        self.body, self.size = body, size

    def read(self, size: int) -> bytes:
        taken, self.body = self.body[: min(size, self.size)], self.body[min(size, self.size) :]
        return taken


class TestSchema:
    """The OpenAPI document says the same as the code."""

    def test_it_validates_without_a_warning(self, tmp_path: Any) -> None:
        file = tmp_path / "schema.yaml"
        call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(file))
        assert "/api/v1/cases/{case_id}/events/histogram/" in file.read_text("utf-8")

    def test_it_is_served_and_the_page_loads_nothing_from_elsewhere(self) -> None:
        assert Client().get(f"{V1}/schema/").status_code == 200
        page = Client().get(f"{V1}/docs/").content.decode()
        assert "swagger" in page
        assert "//cdn" not in page
        assert "https://" not in page


class TestConstantQueries:
    """A longer list costs no more queries."""

    @pytest.mark.parametrize("what", ["cases", "evidence", "runs", "members", "custody", "modules"])
    def test_a_list_of_one_and_of_thirty(self, what: str, django_assert_num_queries: Any) -> None:
        from django.test.utils import CaptureQueriesContext

        from cases import services
        from cases.tests.cast import receive

        case = staffed_case()
        receive(case, b"0")
        client = client_of("alice")
        address = f"{V1}/{what}/" if what in ("cases", "modules") else f"{V1}/cases/{case.case_id}/{what}/"
        client.get(address)  # the registry of modules is written at the first call
        with CaptureQueriesContext(connection) as few:
            assert client.get(address).status_code == 200
        for number in range(30):
            services.open_case(by=case.owner, case_id=f"more-{number}")
            receive(case, f"more {number}".encode())
            services.add_member(case=case, user=person(f"more-{number}"), role="reader", by=case.owner)
        with django_assert_num_queries(len(few)):
            assert len(client.get(address).json()["results"]) >= (1 if what == "modules" else 30)
