"""The Celery application: carries ids of runs to workers over the broker that TASKS names.

`celery -A datamortem worker` finds it here; `manage.py worker` starts the same worker. Without a
broker it is never used. Messages are JSON, and no worker keeps or returns results.
"""

from __future__ import annotations

import os
import ssl
from typing import Any, Final
from urllib.parse import urlsplit

from celery import Celery
from kombu.connection import Connection
from kombu.entity import Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "datamortem.settings")

from django.conf import settings  # Celery's command has named no settings before

#: The name of the one message there is: look at this run.
MESSAGE: Final = "datamortem.look_at"
#: What workers are asked for their names by.
WHO: Final = "datamortem_who"
_SECONDS: Final = 2.0


def _tls(url: str) -> dict[str, Any] | None:
    """Return how the certificate of the broker is checked; None without TLS."""
    parts = urlsplit(url)
    authorities = settings.TASKS_CA or ssl.get_default_verify_paths().cafile
    if parts.scheme == "rediss":
        return {
            "ssl_cert_reqs": ssl.CERT_REQUIRED,
            "ssl_ca_certs": authorities,
            "ssl_check_hostname": True,
        }
    if parts.scheme == "amqps":
        return {
            "cert_reqs": ssl.CERT_REQUIRED,
            "ca_certs": authorities,
            "server_hostname": parts.hostname,
        }
    return None


def _transport(url: str) -> dict[str, Any]:
    """Return how the broker is talked to: nobody waits long for one that is away."""
    patience = {"max_retries": 0, "interval_start": 0, "interval_step": 0, "interval_max": 0}
    if urlsplit(url).scheme in ("redis", "rediss"):
        return {
            **patience,
            "global_keyprefix": "datamortem:",  # beside whatever else lives in this database
            "socket_connect_timeout": _SECONDS,
            "socket_timeout": 5 * _SECONDS,
            "socket_keepalive": True,
        }
    return {**patience, "write_timeout": 5 * _SECONDS, "read_timeout": None}


def _make() -> Celery:
    broker = settings.TASKS if settings.TASKS != "builtin" else "memory://"
    made = Celery("datamortem", broker=broker, include=["cases.tasks.carried"])
    made.conf.update(
        accept_content=["json"],
        broker_connection_max_retries=None,
        broker_connection_retry_on_startup=True,
        broker_connection_timeout=_SECONDS,
        broker_heartbeat=20,
        broker_transport_options=_transport(broker),
        broker_use_ssl=_tls(broker),
        enable_utc=True,
        task_create_missing_queues=False,
        task_default_exchange="datamortem",
        task_default_queue="reading",
        task_ignore_result=True,
        task_queues=[Queue(name, routing_key=name) for name in ("events", "reading", "large")],
        task_serializer="json",
        timezone="UTC",
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_disable_prefetch=broker.startswith("redis"),
        worker_pool="threads",
        worker_prefetch_multiplier=1,
    )
    return made


app = _make()


def connection(url: str) -> Connection:
    """Return a connection to a broker for a request, which waits for nobody; it is opened when it is used."""
    hurried = {"socket_timeout": _SECONDS, "write_timeout": _SECONDS, "read_timeout": _SECONDS}
    options = _transport(url)
    options |= {name: value for name, value in hurried.items() if name in options}
    made: Connection = app.connection_for_write(url=url, ssl=_tls(url), transport_options=options)
    return made
