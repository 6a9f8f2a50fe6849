"""Evidence in a bucket of Amazon S3, or of a server that speaks its language.

An object is put with its SHA-256, on the condition that there is none (If-None-Match, which most
servers know), and read back whole. Large ones go up in parts; what a crash leaves of those is
swept, below our own prefix alone. This module is alone in importing boto3.
"""

from __future__ import annotations

import hashlib
import logging
import os
import random
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from io import RawIOBase
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from s3transfer.utils import ReadFileChunk

from cases.store.content import BLOCK, Absent, NoSpace, Place, Stored, StoreDown, hash_of, is_key
from cases.store.keys import Keys
from cases.store.ranges import Ranges
from datamortem.common.buckets import BucketURL

logger = logging.getLogger(__name__)

#: Larger content goes up in parts of this many bytes; a server takes 10,000 of them.
PART: Final = 64 * 1024 * 1024
_PARTS: Final = 9000
#: Uploads in parts that nobody has added to for so long were left by a crash.
ABANDONED: Final = timedelta(hours=24)
_SWEEP_EVERY: Final = 3600.0
_ATTEMPTS: Final = 4
#: Seconds that others may be at the same content before we give up.
_SETTLING: Final = 60.0
#: Servers that are not Amazon's have none, and signatures need one.
_ANY_REGION: Final = "us-east-1"
_MISSING: Final = ("404", "NoSuchKey", "NotFound")
_CHANGED: Final = ("412", "PreconditionFailed", "416", "InvalidRange", *_MISSING)
#: It is there (precondition failed), or somebody puts or removes the same or a neighbour (conflict).
_AT_ONCE: Final = (409, 412)
_NO_CONDITIONS: Final = ("501", "NotImplemented")
_FULL: Final = ("507", "QuotaExceeded", "InsufficientCapacity", "XMinioStorageFull", "EntityTooLarge")
#: Said by `open` and `blocks`.
_GONE: Final = "The stored bytes are not in the bucket, or were changed just now."


def open_bucket(url: BucketURL, keys: Keys) -> Bucket:
    """Return the bucket of a URL; what it says of endpoint and region comes first."""
    keys = replace(keys, endpoint=url.endpoint or keys.endpoint, region=url.region or keys.region)
    patient, brief = _clients(keys, os.getpid())
    return Bucket(url, patient, brief)


@lru_cache(maxsize=4)
def _clients(keys: Keys, process: int) -> tuple[Any, Any]:
    """Return a client that tries for minutes and one for seconds; connections do not survive a fork."""
    session = boto3.session.Session(
        aws_access_key_id=keys.access_key or None,
        aws_secret_access_key=keys.secret_key or None,
        region_name=keys.region or None,
    )

    def client(*, connect: int, read: int, attempts: int) -> Any:
        config = Config(
            signature_version="s3v4",
            s3={"addressing_style": "path" if keys.endpoint else "auto"},
            connect_timeout=connect,
            read_timeout=read,
            retries={"mode": "standard", "total_max_attempts": attempts},
            max_pool_connections=32,
            tcp_keepalive=True,
            # We send SHA-256 ourselves; some servers refuse the checksums that are otherwise added.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        return session.client(
            "s3",
            endpoint_url=keys.endpoint or None,
            region_name=session.region_name or _ANY_REGION,
            verify=keys.ca or None,
            config=config,
        )

    return client(connect=5, read=60, attempts=_ATTEMPTS), client(connect=2, read=5, attempts=2)


class Bucket(Place):
    """A bucket that holds evidence below a prefix. `brief` is a client that gives up soon."""

    def __init__(self, url: BucketURL, client: Any, brief: Any) -> None:
        self.name = str(url)
        self._bucket = url.bucket
        self._prefix = f"{url.prefix}/" if url.prefix else ""
        self._client = client
        self._brief = brief
        self._swept: float | None = None
        self._sweeping = threading.Lock()

    def check(self) -> None:
        """Ask for the bucket."""
        with _asking():
            self._brief.head_bucket(Bucket=self._bucket)

    def settle(self, draft: Path, stored: Stored) -> bool:
        """Put the object unless it is there, and read it back.

        Others may put and remove the same at this moment: what is removed each time after it was put
        is left to `holding.hold`, during which nobody removes it.
        """
        is_new, puts, end = False, 0, time.monotonic() + _SETTLING
        while puts < _ATTEMPTS and time.monotonic() < end:
            found = self.digest(stored.key)
            if found == stored.sha256:
                return is_new
            if found is None and not self._put_if_none(draft, stored):
                time.sleep(random.uniform(0.02, 0.2))  # noqa: S311
                continue
            puts += 1
            if found is None:
                is_new = True
            elif is_new:
                self.remove(stored.key)
                raise StoreDown("The bucket gave back other bytes than were put into it.")
            else:
                logger.error(
                    "Stored content %s had changed and was replaced by an intact copy.", stored.sha256
                )
                with _asking():
                    self._put(draft, stored, {})
        if not is_new:
            raise StoreDown("The bucket does not keep what is put into it.")
        return True

    def _put_if_none(self, draft: Path, stored: Stored) -> bool:
        """Put the object; False when another machine was faster, or is at it."""
        with _asking():
            try:
                self._put(draft, stored, {"IfNoneMatch": "*"})
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] in _AT_ONCE:
                    return False
                if _code(error) not in _NO_CONDITIONS:
                    raise
                self._put(draft, stored, {})
        return True

    def _put(self, draft: Path, stored: Stored, condition: dict[str, str]) -> None:
        if stored.size > PART:
            self._put_in_parts(draft, stored, condition)
            return
        with draft.open("rb") as file:
            self._client.put_object(
                **self._object(stored.key),
                **_described(stored),
                **condition,
                Body=file,
                ContentLength=stored.size,
                ChecksumSHA256=_base64(bytes.fromhex(stored.sha256)),
            )

    def _put_in_parts(self, draft: Path, stored: Stored, condition: dict[str, str]) -> None:
        place = self._object(stored.key)
        begun = self._client.create_multipart_upload(
            **place, **_described(stored), ChecksumAlgorithm="SHA256"
        )
        upload = {**place, "UploadId": begun["UploadId"]}
        try:
            parts = [self._put_part(upload, number, chunk) for number, chunk in _chunks(draft, stored.size)]
            self._client.complete_multipart_upload(**upload, **condition, MultipartUpload={"Parts": parts})
        except BaseException:
            with suppress(ClientError, BotoCoreError):  # the sweep ends what is left
                self._client.abort_multipart_upload(**upload)
            raise

    def _put_part(self, upload: dict[str, str], number: int, chunk: ReadFileChunk) -> dict[str, Any]:
        with chunk:
            digest = hashlib.sha256()
            while block := chunk.read(BLOCK):
                digest.update(block)
            chunk.seek(0)
            checksum = _base64(digest.digest())
            answer = self._client.upload_part(
                **upload, PartNumber=number, Body=chunk, ContentLength=len(chunk), ChecksumSHA256=checksum
            )
        return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum}

    def size(self, key: str) -> int | None:
        """Ask for the head of the object, and for the bucket when there is none."""
        head = self._head(key)
        return None if head is None else int(head["ContentLength"])

    def _head(self, key: str) -> dict[str, Any] | None:
        with _asking():
            try:
                head: dict[str, Any] = self._client.head_object(**self._object(key))
            except ClientError as error:
                if _code(error) not in _MISSING:
                    raise
                # Of a bucket that is gone the answer is the same, and must not mean lost evidence.
                self._client.head_bucket(Bucket=self._bucket)
                return None
        return head

    def open(self, key: str) -> RawIOBase:
        """Return a stream that asks for ranges of the object as it is now."""
        head = self._head(key)
        if head is None:
            raise Absent(_GONE)
        unchanged = _unchanged(head)

        def fetch(start: int, end: int) -> bytes:
            return b"".join(self._read(key, start, end, unchanged))

        return Ranges(fetch, int(head["ContentLength"]))

    def blocks(self, key: str, *, start: int = 0) -> Iterator[bytes]:
        """Yield the object as it is now, in one question unless the connection breaks."""
        head = self._head(key)
        if head is None:
            raise Absent(_GONE)
        yield from self._read(key, start, int(head["ContentLength"]), _unchanged(head))

    def _read(self, key: str, start: int, end: int, unchanged: dict[str, str]) -> Iterator[bytes]:
        """Yield the bytes of a range, going on where a connection broke."""
        failures = 0
        while start < end:
            try:
                with self._asked(key, start, end, unchanged) as body:
                    while block := body.read(BLOCK):
                        start += len(block)
                        failures = 0
                        yield block
                if start < end:
                    raise StoreDown("The bucket gave fewer bytes than it holds.")
            except BotoCoreError as error:
                failures += 1
                if failures == _ATTEMPTS:
                    raise _silence(error) from error
                time.sleep(0.2 * 2**failures)

    @contextmanager
    def _asked(self, key: str, start: int, end: int, unchanged: dict[str, str]) -> Iterator[Any]:
        try:
            answer = self._client.get_object(
                **self._object(key), **unchanged, Range=f"bytes={start}-{end - 1}"
            )
        except ClientError as error:
            raise Absent(_GONE) if _code(error) in _CHANGED else _refusal(error) from error
        with closing(answer["Body"]) as body:  # as a context of its own it would not count its bytes
            if answer["ContentLength"] != end - start:
                raise StoreDown("The bucket sent another range than was asked for.")
            yield body

    def remove(self, key: str) -> None:
        """Delete the object; with versioning the bucket keeps it as an older version."""
        with _asking():
            self._brief.delete_object(**self._object(key))

    def keys(self) -> Iterator[str]:
        """List the objects below our prefix."""
        for entry in self._pages("list_objects_v2", "Contents"):
            yield entry["Key"].removeprefix(self._prefix)

    def sweep(self) -> int:
        """End uploads in parts that a crash left; asks the bucket once an hour at most."""
        with self._sweeping:
            now = time.monotonic()
            if self._swept is not None and now - self._swept < _SWEEP_EVERY:
                return 0
            self._swept = now
        ended = 0
        for upload in self._uploads():
            if self._is_abandoned(upload):
                with _asking():
                    self._client.abort_multipart_upload(
                        Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )
                ended += 1
        return ended

    def _uploads(self) -> list[dict[str, Any]]:
        try:
            return list(self._pages("list_multipart_uploads", "Uploads"))
        except StoreDown as error:
            if isinstance(error.__cause__, ClientError) and _code(error.__cause__) == "NoSuchUpload":
                return []  # rclone's answer where there is none
            raise

    def _is_abandoned(self, upload: dict[str, Any]) -> bool:
        limit = datetime.now(UTC) - ABANDONED
        if upload["Initiated"] > limit:
            return False
        facts = {"Bucket": self._bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
        with _asking():
            pages = self._client.get_paginator("list_parts").paginate(**facts)
            return all(part["LastModified"] <= limit for page in pages for part in page.get("Parts", ()))

    def _pages(self, operation: str, name: str) -> Iterator[dict[str, Any]]:
        """Yield the entries of a listing that are ours: keys as we make them, below our prefix."""
        with _asking():
            pages = self._client.get_paginator(operation).paginate(
                Bucket=self._bucket, Prefix=f"{self._prefix}sha256/"
            )
            for page in pages:
                for entry in page.get(name, ()):
                    if is_key(entry["Key"].removeprefix(self._prefix)):
                        yield entry

    def _object(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + key}


def _described(stored: Stored) -> dict[str, Any]:
    """What people see of the object in the bucket's own tools."""
    return {
        "ContentType": "application/octet-stream",
        "Metadata": {"sha256": hash_of(stored.key), "size": str(stored.size)},
    }


def _chunks(draft: Path, size: int) -> Iterator[tuple[int, ReadFileChunk]]:
    length = max(PART, -(-size // _PARTS))
    for number, start in enumerate(range(0, size, length), 1):
        yield number, ReadFileChunk.from_filename(str(draft), start, length)


def _unchanged(head: dict[str, Any]) -> dict[str, str]:
    """The condition that what is read is what was looked at."""
    return {"IfMatch": head["ETag"]} if head.get("ETag") else {}


def _base64(digest: bytes) -> str:
    return b64encode(digest).decode("ascii")


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def _asking() -> Iterator[None]:
    """Turn what the client raises into refusals."""
    try:
        yield
    except ClientError as error:
        raise _refusal(error) from error
    except BotoCoreError as error:
        raise _silence(error) from error


def _refusal(error: ClientError) -> StoreDown | NoSpace:
    """What to tell people: the server's word for it, never its sentence, which may hold names."""
    code = _code(error)
    if code in _FULL:
        return NoSpace("The bucket of the evidence is full: make room, then try again.")
    logger.error("The bucket refused %s: %s", error.operation_name, code)
    return StoreDown(f"The bucket of the evidence refuses us ({code}): try again later.")


def _silence(error: BotoCoreError) -> StoreDown:
    logger.error("The bucket does not answer: %s", type(error).__name__)
    return StoreDown(f"The bucket of the evidence does not answer ({type(error).__name__}): try again later.")
