"""The address of an S3 bucket, as a part of the host's name or of the path."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

_LABEL = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
"""Pattern of a bucket name that can be part of a host name, also in a certificate."""


def bucket_address(endpoint: str, bucket: str, *, path_style: bool) -> str:
    """Return the URL below which the objects of a bucket are, without a slash at the end.

    The bucket is part of the host, or of the path where that is wanted or necessary.
    """
    base = endpoint.rstrip("/")
    parts = urlsplit(base)
    if path_style or not _LABEL.fullmatch(bucket) or _is_address(parts.hostname or ""):
        return f"{base}/{bucket}"
    return f"{parts.scheme}://{bucket}.{parts.netloc}{parts.path}"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
