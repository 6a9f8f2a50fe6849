"""Load balancers of AWS, and the error logs of Apache and nginx.

Sources: AWS, access logs of Application, Network and Classic Load Balancers (field names are
those of the tables that AWS documents for them); Apache 2.4, ErrorLogFormat; nginx, error_log.
"""

from __future__ import annotations

import re
from typing import Any, Final
from zoneinfo import ZoneInfo

from cases.parsers.civil import Instant
from cases.parsers.times import read_time
from cases.parsers.weblog_text import is_given, number, split_request, summary, tokens
from cases.records import Record

_STAMP: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?Z?"
_BALANCER: Final = re.compile(rf"(?:(?:https?|h2|wss?|grpcs?) )?{_STAMP} \S+ \S+:[0-9]{{1,5}} \S+ -?[0-9.]+ ")
_NETWORK: Final = re.compile(rf"tls [0-9.]{{1,8}} {_STAMP} ")
_CLASSIC_NAMES: Final = (
    "time", "elb", "client", "target", "request_processing_time", "target_processing_time",
    "response_processing_time", "elb_status_code", "target_status_code", "received_bytes", "sent_bytes",
    "request", "user_agent", "ssl_cipher", "ssl_protocol",
)  # fmt: skip
_APPLICATION_NAMES: Final = (
    "type", *_CLASSIC_NAMES, "target_group_arn", "trace_id", "domain_name", "chosen_cert_arn",
    "matched_rule_priority", "request_creation_time", "actions_executed", "redirect_url", "error_reason",
    "target_port_list", "target_status_code_list", "classification", "classification_reason",
    "conn_trace_id",
)  # fmt: skip
_NETWORK_NAMES: Final = (
    "type", "version", "time", "elb", "listener_id", "client", "target", "connection_time",
    "tls_handshake_time", "received_bytes", "sent_bytes", "incoming_tls_alert", "chosen_cert_arn",
    "chosen_cert_serial", "tls_cipher", "tls_protocol_version", "tls_named_group", "domain_name",
    "alpn_fe_protocol", "alpn_be_protocol", "alpn_client_preference_list", "tls_connection_creation_time",
)  # fmt: skip
_NUMBERS: Final = frozenset(
    ("elb_status_code", "target_status_code", "received_bytes", "sent_bytes", "connection_time",
     "tls_handshake_time", "matched_rule_priority")
)  # fmt: skip

_APACHE: Final = re.compile(
    r"\[((?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} [ 0-9]?[0-9] [0-9:]{8}(?:\.[0-9]{1,9})? [0-9]{4})\] "
    r"\[(?:([\w-]{1,64}):)?(\w{1,16})\] (?:\[pid ([0-9]{1,10})(?::tid ([0-9]{1,18}))?\] )?"
    r"((?:\([^()]{0,256}\)[^\[]{0,512}: )?)(?:\[(?:client|remote) ([^\]]{1,256})\] )?"
)
_NGINX: Final = re.compile(
    r"([0-9]{4}/[0-9]{2}/[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}) \[(\w{1,16})\] "
    r"([0-9]{1,10})#([0-9]{1,18}): (?:\*([0-9]{1,18}) )?"
)
_NGINX_PAIR: Final = re.compile(
    r', (client|server|request|upstream|host|referrer|subrequest|login): ("[^"]*"|[^,"]*)'
)
_ENDPOINT: Final = re.compile(r"(.+):([0-9]{1,5})")
_LEVELS: Final = frozenset(
    (
        "emerg",
        "alert",
        "crit",
        "error",
        "warn",
        "notice",
        "info",
        "debug",
        *(f"trace{n}" for n in range(1, 9)),
    )
)


def read_other(text: str, position: str, span: tuple[int, int], zone: ZoneInfo) -> Record | None:
    """Return the record of a line in one of these forms, None if it has none. Raises ValueError."""
    first = text[:1]
    if first == "[":
        return _apache_error(text, position, span, zone)
    if match := _NGINX.match(text):
        return _nginx_error(match, text, position, span, zone)
    if _BALANCER.match(text):
        names = _CLASSIC_NAMES if first.isdigit() else _APPLICATION_NAMES
        return _balancer(names, text, position, span, zone)
    if _NETWORK.match(text):
        return _balancer(_NETWORK_NAMES, text, position, span, zone)
    return None


def _balancer(
    names: tuple[str, ...], text: str, position: str, span: tuple[int, int], zone: ZoneInfo
) -> Record:
    values = tokens(text)
    attributes: dict[str, Any] = {}
    for name, value in zip(names, values, strict=False):
        if is_given(value):
            whole = number(value) if name in _NUMBERS else None
            attributes[name] = value if whole is None else whole
    if len(values) > len(names):
        attributes["extra"] = values[len(names) :]
    # All three write UTC, the network balancer without saying so.
    written = str(attributes["time"])
    instant = read_time(written if written.endswith("Z") else f"{written}Z", zone=zone)
    client, target = _endpoint("client", attributes), _endpoint("target", attributes)
    shown = target
    if is_given(request := attributes.pop("request", "").strip(" -")):
        shown = split_request(request, attributes)
    domain = attributes.get("domain_name")
    record = Record(
        position,
        summary(client, shown, attributes.get("elb_status_code"), attributes.get("sent_bytes")),
        host=domain or None,
        category="web",
        type="load_balancer",
        attributes=attributes,
        span=span,
    )
    return _dated(record, instant, "Request logged")


def _endpoint(name: str, attributes: dict[str, Any]) -> str | None:
    """Split address and port, as the documented tables do."""
    match = _ENDPOINT.fullmatch(str(attributes.get(name, "")))
    if match is None:
        return None
    del attributes[name]
    attributes[f"{name}_ip"], attributes[f"{name}_port"] = match[1], int(match[2])
    return match[1]


def _apache_error(text: str, position: str, span: tuple[int, int], zone: ZoneInfo) -> Record | None:
    match = _APACHE.match(text)
    if match is None or match[3] not in _LEVELS:
        return None
    stamp, module, level, pid, tid, fault, client = match.groups()
    attributes = _given(module=module, level=level, pid=pid and int(pid), tid=tid and int(tid), client=client)
    instant = read_time(_day_first(stamp), zone=zone)
    record = Record(
        position, fault + text[match.end() :], category="web", type="error", attributes=attributes, span=span
    )
    return _dated(record, instant, "Event logged")


def _day_first(stamp: str) -> str:
    """Return "Fri Sep 09 10:42:29.902022 2011" as day, month, year, clock."""
    _, month, day, clock, year = stamp.split()
    return f"{day} {month} {year} {clock}"


def _nginx_error(
    match: re.Match[str], text: str, position: str, span: tuple[int, int], zone: ZoneInfo
) -> Record:
    stamp, level, pid, tid, connection = match.groups()
    attributes = _given(level=level, pid=int(pid), tid=int(tid), connection=connection and int(connection))
    message = text[match.end() :]
    for name, written in _NGINX_PAIR.findall(message[-4096:]):
        value = written.strip('"')
        if name == "request":
            split_request(value, attributes)
        else:
            attributes[name] = value
    record = Record(
        position,
        message,
        host=attributes.get("host") or attributes.get("server"),
        category="web",
        type="error",
        attributes=attributes,
        span=span,
    )
    return _dated(record, read_time(stamp, zone=zone), "Event logged")


def _dated(record: Record, instant: Instant, description: str) -> Record:
    record.timestamp, record.time_precision = instant.timestamp, instant.precision
    record.timestamp_desc = description
    if instant.notes:
        record.attributes["time_note"] = "; ".join(instant.notes)
    return record


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
