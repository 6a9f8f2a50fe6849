"""Places for evidence that tests run on: a folder, and a bucket of a real S3 server.

The server is versitygw (`make s3-server` builds it), minio or rclone: TEST_S3_SERVER names the
program, else it is looked for beside Python and on the PATH. It starts once for a process of the
tests, on loopback, and ends with it. Without one the tests that need it skip.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from pytest_django import Settings

from cases import store
from cases.store.content import key_of

ACCESS_KEY: Final = "datamortem-tests"
SECRET_KEY: Final = "canary-b8f1c2-secret"
BUCKET: Final = "evidence"
_PROGRAMS: Final = ("versitygw", "minio", "rclone")


def program() -> str:
    """Return the program of an S3 server; empty when there is none."""
    if named := os.environ.get("TEST_S3_SERVER"):
        return named
    beside = str(Path(sys.executable).parent)
    for name in _PROGRAMS[:1]:
        if found := shutil.which(name, path=beside) or shutil.which(name):
            return found
    return ""


NEEDS_S3: Final = pytest.mark.skipif(
    not program(), reason="no S3 server: `make s3-server` builds one, or TEST_S3_SERVER names one"
)
PLACES: Final = ["folder", pytest.param("bucket", marks=NEEDS_S3)]


def _dying_with_us() -> list[str]:
    """What to put before a command that ends with this process, however that ends."""
    found = shutil.which("setpriv")
    return [found, "--pdeathsig", "KILL"] if found else []


class Server:
    """An S3 server on loopback with a directory of its own."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="datamortem-s3-"))
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and make the bucket."""
        where, data = f"127.0.0.1:{self.port}", self.root / "data"
        data.mkdir(exist_ok=True)
        command = {
            "versitygw": ["--port", where, "posix", str(data)],
            "minio": ["server", str(data), "--address", where],
            "rclone": ["serve", "s3", "--addr", where, "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", str(data)],
        }[Path(program()).name]
        keys = {
            "ROOT_ACCESS_KEY": ACCESS_KEY,
            "ROOT_SECRET_KEY": SECRET_KEY,
            "MINIO_ROOT_USER": ACCESS_KEY,
            "MINIO_ROOT_PASSWORD": SECRET_KEY,
        }
        with (self.root / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_dying_with_us(), program(), *command],
                env={"PATH": os.defpath, "HOME": str(self.root), **keys},
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        end = time.monotonic() + 20
        while True:
            try:
                if BUCKET not in {entry["Name"] for entry in self.client.list_buckets()["Buckets"]}:
                    self.client.create_bucket(Bucket=BUCKET)
                return
            except (BotoCoreError, ClientError):  # not there yet, or not ready yet
                assert time.monotonic() < end, (self.root / "log").read_text()
                assert self._process.poll() is None, (self.root / "log").read_text()
                time.sleep(0.1)

    def stop(self) -> None:
        """End it; its data stays for the next start."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        """End it and remove its data."""
        self.stop()
        shutil.rmtree(self.root, ignore_errors=True)

    @property
    def client(self) -> Any:
        """A client of the tests' own, to look and to tamper with."""
        return _client(self.url)


@lru_cache(maxsize=4)
def _client(url: str) -> Any:
    config = Config(
        s3={"addressing_style": "path"},
        retries={"total_max_attempts": 1},
        request_checksum_calculation="when_required",
    )
    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name="us-east-1",
        config=config,
    )


@lru_cache(maxsize=1)
def server() -> Server:
    """Return the server of this process of tests."""
    made = Server()
    made.start()
    atexit.register(made.remove)
    return made


@contextmanager
def a_server() -> Iterator[Server]:
    """Start a server that may be stopped in the middle."""
    made = Server()
    try:
        made.start()
        yield made
    finally:
        made.remove()


def use_bucket(settings: Settings, at: Server | None = None) -> str:
    """Let evidence lie in a bucket below a prefix of this test's own; return the prefix."""
    prefix = f"test-{uuid.uuid4().hex}"
    settings.EVIDENCE_URL = f"s3://{BUCKET}/{prefix}"
    settings.EVIDENCE_S3_ENDPOINT = (at or server()).url
    settings.EVIDENCE_S3_REGION = "us-east-1"
    settings.EVIDENCE_S3_ACCESS_KEY = ACCESS_KEY
    settings.EVIDENCE_S3_SECRET_KEY = SECRET_KEY
    return prefix


class Behind:
    """The place of a test behind the back of the platform: what lies there, and tampering with it."""

    def __init__(self, settings: Settings, kind: str) -> None:
        self.settings = settings
        self.prefix = use_bucket(settings) if kind == "bucket" else ""

    @property
    def is_bucket(self) -> bool:
        """Whether it is a bucket."""
        return bool(self.prefix)

    def read(self, sha256: str) -> bytes:
        """Return what lies under a hash."""
        if self.is_bucket:
            answer = server().client.get_object(Bucket=BUCKET, Key=f"{self.prefix}/{key_of(sha256)}")
            with answer["Body"] as body:
                found: bytes = body.read()
            return found
        return store.path(key_of(sha256)).read_bytes()

    def change(self, sha256: str, content: bytes) -> None:
        """Put other bytes under a hash."""
        if self.is_bucket:
            key = f"{self.prefix}/{key_of(sha256)}"
            checksum = b64encode(hashlib.sha256(content).digest()).decode()
            server().client.put_object(Bucket=BUCKET, Key=key, Body=content, ChecksumSHA256=checksum)
            return
        path = store.path(key_of(sha256))
        path.chmod(0o600)
        path.write_bytes(content)

    def remove(self, sha256: str) -> None:
        """Remove what lies under a hash."""
        store.place().remove(key_of(sha256))

    def everything(self) -> list[str]:
        """Return all names in the place and in the local directory, drafts and foreign ones too."""
        root: Path = self.settings.EVIDENCE_ROOT
        found = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
        if self.is_bucket:
            client = server().client
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=self.prefix)
            found += [
                entry["Key"].removeprefix(f"{self.prefix}/")
                for page in pages
                for entry in page.get("Contents", ())
            ]
            with suppress(client.exceptions.NoSuchUpload):  # rclone's answer where there is none
                uploads = client.list_multipart_uploads(Bucket=BUCKET, Prefix=f"{self.prefix}/")
                found += [f"upload of {entry['Key']}" for entry in uploads.get("Uploads", ())]
        return sorted(found)


def a_draft(settings: Settings, name: str, content: bytes, *, age: float = 0) -> Path:
    """Return a file among those that arrive, as old as said (in seconds)."""
    draft: Path = settings.EVIDENCE_ROOT / "incoming" / name
    draft.parent.mkdir(parents=True, exist_ok=True)
    draft.write_bytes(content)
    then = time.time() - age
    with suppress(OSError):
        os.utime(draft, (then, then))
    return draft


class Unsteady:
    """A proxy on loopback in front of a server, whose next answers it cuts after so many bytes."""

    def __init__(self, at: Server) -> None:
        self._target = ("127.0.0.1", at.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.cuts: list[int] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept nothing more."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                threading.Thread(target=self._pump, args=(near, far, False), daemon=True).start()
                threading.Thread(target=self._pump, args=(far, near, True), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        sent = 0
        with suppress(OSError):
            while data := source.recv(65536):
                sent += len(data)
                if answers and self.cuts and sent > self.cuts[0]:
                    self.cuts.pop(0)
                    break
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
