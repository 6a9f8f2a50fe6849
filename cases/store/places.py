"""Which place the settings mean. The bucket's client is imported only where it is used."""

from __future__ import annotations

import os
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Protocol

from django.conf import settings

from cases.store.content import Place
from cases.store.folder import Folder
from cases.store.keys import Keys
from datamortem.common.buckets import SCHEME, BucketURL, read_bucket_url


class _Opener(Protocol):
    """What `cases.store.bucket` offers."""

    def __call__(self, url: BucketURL, keys: Keys) -> Place: ...


def place() -> Place:
    """Return where the evidence of this installation lies."""
    if settings.EVIDENCE_URL.startswith(SCHEME):
        return place_at(settings.EVIDENCE_URL)
    return Folder(settings.EVIDENCE_ROOT)


def place_at(url: str) -> Place:
    """Return the place of a bucket's URL, or of a folder's path. Raises ValueError."""
    if not url.startswith(SCHEME):
        path = url.removeprefix("file://")
        if "://" in path or not path:
            raise ValueError("expected a path, file:///path or s3://bucket/prefix.")
        return Folder(Path(path).expanduser().resolve())
    keys = Keys(
        endpoint=settings.EVIDENCE_S3_ENDPOINT,
        region=settings.EVIDENCE_S3_REGION,
        access_key=settings.EVIDENCE_S3_ACCESS_KEY,
        secret_key=settings.EVIDENCE_S3_SECRET_KEY,
        ca=settings.EVIDENCE_S3_CA,
    )
    return _bucket(read_bucket_url(url), keys, os.getpid())


@lru_cache(maxsize=4)
def _bucket(url: BucketURL, keys: Keys, process: int) -> Place:
    """One a process."""
    opener: _Opener = import_module("cases.store.bucket").open_bucket
    return opener(url, keys)
