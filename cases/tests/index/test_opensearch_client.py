"""The connection to a search server: names, logins, certificates, and what is said of failures."""

from __future__ import annotations

import datetime
import ipaddress
import logging
import os
import ssl
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cases.index.connect import Address
from cases.index.engine import IndexUnavailable
from cases.index.opensearch import OpenSearchEngine
from cases.index.opensearch_client import Client, ServerError, read_hosts
from cases.index.opensearch_names import Names, checked, index, marker, pattern, writing
from cases.tests.index.engines import SERVER, event, fill, found
from cases.tests.index.proxy import Proxy, proxy_to

LOGIN = ("investigator", "p@ss:w/rd?")
TYPED = "investigator:p%40ss%3Aw%2Frd%3F"
on_a_server = pytest.mark.skipif(not SERVER, reason="TEST_SEARCH_URL names no search server")


class TestNames:
    def test_names_hold_nothing_that_a_user_wrote(self) -> None:
        for case_id in ("case", "*", "", "../x", "a,b", "CASE", "\ud800", "x" * 10_000):
            alias = Names("ns").alias(case_id)
            for name in (alias, index(alias, 1), writing(alias, 12), marker(alias, 9_999_999)):
                assert checked(name) == name
            assert alias.startswith(pattern("ns")[:-1])

    def test_cases_and_installations_have_names_of_their_own(self) -> None:
        names = {Names(space).alias(case) for space in ("a", "b") for case in ("1", "2", "")}
        assert len(names | {Names("a").scratch()}) == 7

    @pytest.mark.parametrize(
        "odd", ["", "*", "_all", "dm-*", "a,b", "<dm-{now/d}>", ".tasks", "dm-0\n", "../_all"]
    )
    def test_any_other_name_is_refused(self, odd: str) -> None:
        with pytest.raises(ValueError, match="no name of an index"):
            checked(odd)
        with pytest.raises(ValueError, match="no name of an index"):
            Client(Address("http://127.0.0.1:9")).ask("GET", "_search", names=[Names("a").alias("1"), odd])

    def test_no_names_are_not_all_names(self) -> None:
        with pytest.raises(ValueError, match="no name of an index"):
            checked([])

    def test_an_installation_without_a_name_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no name"):
            Names("")


class TestAddresses:
    def test_hosts_share_scheme_and_login(self) -> None:
        hosts, login = read_hosts(f"https://{TYPED}@one:9201,two,https://three:1")
        assert [(host["host"], host["port"], host["use_ssl"]) for host in hosts] == [
            ("one", 9201, True),
            ("two", 9200, True),
            ("three", 1, True),
        ]
        assert login == LOGIN

    @pytest.mark.parametrize(
        "url",
        [
            f"https://{TYPED}@",
            f"http://{TYPED}@h:port",
            f"https://{TYPED}@a,http://b",
            f"https://{TYPED}@a,x:y@b",
        ],
    )
    def test_what_cannot_be_read_is_refused_without_the_password(self, url: str) -> None:
        with pytest.raises(ValueError, match="SEARCH_URL") as refusal:
            read_hosts(url)
        assert "w/rd" not in str(refusal.value)
        assert "w%2Frd" not in str(refusal.value)


def test_a_server_that_is_down_is_said_to_be(caplog: pytest.LogCaptureFixture) -> None:
    engine = OpenSearchEngine(Address(f"http://{TYPED}@127.0.0.1:9", namespace="x", api_key="k3y"))
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(IndexUnavailable, match="cannot be reached") as refusal,
    ):
        engine.shards(case_id="case")
    said = f"{refusal.value!r} {engine.client!r} {caplog.text}"
    assert not [secret for secret in ("w/rd", "w%2Frd", "k3y") if secret in said]
    health = engine.health()
    assert not health.ok
    assert "cannot be reached" in health.detail


@on_a_server
class TestOnAServer:
    @pytest.fixture
    def secured(self, tmp_path: Path) -> Iterator[tuple[Proxy, str]]:
        """A proxy with TLS and a login, and the file of its authority."""
        authority, context = certificates(tmp_path)
        with proxy_to(SERVER, tls=context, login=LOGIN) as proxy:
            yield proxy, authority

    def test_the_right_login_over_tls_writes_and_reads(self, secured: tuple[Proxy, str]) -> None:
        proxy, authority = secured
        url = proxy.url.replace("://", f"://{TYPED}@")
        engine = OpenSearchEngine(Address(url, namespace=uuid.uuid4().hex, ca=authority), tried=True)
        fill(engine, [event(1)])
        assert found(engine) == ["message 1"]
        assert engine.health().ok
        engine.drop(case_id="case")
        assert proxy.requests

    def test_a_wrong_login_is_told_and_not_repeated(self, secured: tuple[Proxy, str]) -> None:
        proxy, authority = secured
        engine = OpenSearchEngine(
            Address(proxy.url.replace("://", "://investigator:other@"), namespace="x", ca=authority),
            tried=True,
        )
        with pytest.raises(IndexUnavailable, match="does not accept our login") as refusal:
            engine.shards(case_id="case")
        assert "other" not in str(refusal.value)
        assert len(proxy.requests) == 1
        assert "does not accept our login" in engine.health().detail

    def test_an_api_key_is_sent_instead(self, secured: tuple[Proxy, str]) -> None:
        proxy, authority = secured
        proxy.login = "ApiKey k3y"
        engine = OpenSearchEngine(Address(proxy.url, namespace="x", ca=authority, api_key="k3y"), tried=True)
        assert engine.shards(case_id="case") == {}

    def test_an_unknown_authority_is_refused(self, secured: tuple[Proxy, str]) -> None:
        proxy, _ = secured
        engine = OpenSearchEngine(
            Address(proxy.url.replace("://", f"://{TYPED}@"), namespace="x"), tried=True
        )
        with pytest.raises(IndexUnavailable, match="SEARCH_CA"):
            engine.shards(case_id="case")
        assert proxy.requests == []

    def test_another_host_is_asked_when_one_is_down(self) -> None:
        engine = OpenSearchEngine(
            Address(f"http://127.0.0.1:9,{SERVER}", namespace=uuid.uuid4().hex), tried=True
        )
        assert [engine.shards(case_id="case") for _ in range(6)] == [{}] * 6

    def test_a_slow_server_makes_health_late_but_not_long(self) -> None:
        with proxy_to(SERVER) as proxy:
            proxy.decide = lambda method, path, body: time.sleep(4) or ""  # type: ignore[func-returns-value]
            begun = time.monotonic()
            health = OpenSearchEngine(Address(proxy.url, namespace="x")).health()
            assert time.monotonic() - begun < 3.5
        assert not health.ok
        assert "in time" in health.detail

    def test_health_tells_what_an_operator_has_to_know(self) -> None:
        engine = OpenSearchEngine(Address(SERVER, namespace=uuid.uuid4().hex), tried=True)
        fill(engine, [event(1), event(2)])
        facts = engine.health().facts
        engine.drop(case_id="case")
        wanted = {
            "version",
            "status",
            "nodes",
            "documents",
            "bytes",
            "disk_free",
            "shards_left",
            "indices_behind",
        }
        assert wanted <= set(facts)
        assert {"action.auto_create_index", "action.destructive_requires_name"} <= set(facts)
        assert facts["documents"] == "2"

    def test_a_child_process_has_connections_of_its_own(self) -> None:
        engine = OpenSearchEngine(Address(SERVER, namespace=uuid.uuid4().hex), tried=True)
        engine.shards(case_id="case")
        before = engine.client._transport
        child = os.fork()
        if child == 0:
            engine.shards(case_id="case")
            os._exit(0 if engine.client._transport is not before else 1)
        assert os.waitpid(child, 0)[1] == 0

    def test_a_refusal_has_its_kind(self) -> None:
        with pytest.raises(ServerError) as refusal:
            Client(Address(SERVER)).ask("GET", "_mapping", names=Names("nobody").alias("nothing"))
        assert (refusal.value.status, refusal.value.kind) == (404, "index_not_found_exception")
        assert refusal.value.missing
        assert not refusal.value.passing


def certificates(directory: Path) -> tuple[str, ssl.SSLContext]:
    """Make an authority and a server's certificate; return the file of the one and what uses the other."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("Authority", "Server")]
    now = datetime.datetime.now(datetime.UTC)
    made = []
    for place, (key, name) in enumerate(zip(keys, names, strict=True)):
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(names[0])
            .public_key(key.public_key())
            .serial_number(place + 1)
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=place == 0, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        )
        made.append(builder.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    authority, held = directory / "authority.pem", directory / "server.pem"
    authority.write_bytes(made[0])
    private = keys[1].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    held.write_bytes(private + made[1])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(held)
    return str(authority), context
