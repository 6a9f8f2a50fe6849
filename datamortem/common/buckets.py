"""Addresses of buckets, as settings and operators write them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, urlsplit

SCHEME: Final = "s3://"
#: What S3 allows in names of buckets, and what older servers allowed beside it.
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}", re.ASCII)
_PREFIX: Final = re.compile(r"[A-Za-z0-9!_.*'()-]+(/[A-Za-z0-9!_.*'()-]+)*", re.ASCII)
_KNOWN: Final = ("endpoint", "region")


@dataclass(frozen=True, slots=True)
class BucketURL:
    """`s3://bucket/prefix?endpoint=…&region=…` in its parts; empty where nothing was given."""

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""

    def __str__(self) -> str:
        return SCHEME + "/".join(filter(None, (self.bucket, self.prefix)))


def read_bucket_url(url: str) -> BucketURL:
    """Return the parts of the URL. Raises ValueError, which says what was expected."""
    parts = urlsplit(url)
    prefix = parts.path.strip("/")
    if not url.startswith(SCHEME) or not _BUCKET.fullmatch(parts.netloc) or parts.fragment:
        raise ValueError("expected s3://bucket/prefix; keys have settings of their own.")
    if prefix and (not _PREFIX.fullmatch(prefix) or {".", ".."} & set(prefix.split("/"))):
        raise ValueError("a prefix has letters, digits and -_.!*'() between single slashes.")
    try:
        given = parse_qs(parts.query, strict_parsing=True) if parts.query else {}
    except ValueError:
        given = {"": [""]}
    if set(given) - set(_KNOWN) or any(len(values) > 1 for values in given.values()):
        raise ValueError(f"after the question mark may stand {' and '.join(_KNOWN)}, once each.")
    endpoint = check_endpoint(given.get("endpoint", [""])[0])
    return BucketURL(parts.netloc, prefix, endpoint, given.get("region", [""])[0])


def check_endpoint(endpoint: str) -> str:
    """Return the endpoint of a server that is not Amazon's, without a slash at its end.

    Raises ValueError.
    """
    parts = urlsplit(endpoint)
    if not endpoint:
        return ""
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ValueError("expected http(s)://host[:port] as the endpoint, without keys in it.")
    if parts.query or parts.fragment:
        raise ValueError("an endpoint has neither ? nor #.")
    return endpoint.rstrip("/")
