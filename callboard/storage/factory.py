"""Open the artifact store at the location that the settings give."""

from __future__ import annotations

import re
from pathlib import Path

from callboard.schemas.errors import ConfigurationError
from callboard.storage.folder import FolderStore
from callboard.storage.store import Store

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def open_store(location: str, *, endpoint: str | None = None) -> Store:
    """Return the store at `location`: a folder that need not exist yet, or `s3://bucket/prefix`.

    No request is made here.

    Args:
        location: The setting `artifacts`.
        endpoint: The setting `artifacts_endpoint`, the address of an S3-compatible store; a folder has none.

    Raises:
        ConfigurationError: The address has another scheme, or the settings for S3 are invalid; the message names the
            variable.
    """
    scheme = _SCHEME.match(location)
    if scheme is None:
        return FolderStore(Path(location).expanduser().absolute())
    if scheme.group().lower() != "s3://":
        raise ConfigurationError(
            f"Artifacts cannot be kept at {scheme.group()}…: Callboard keeps them in a folder or in an S3 bucket. "
            "Set CALLBOARD_ARTIFACTS to the path of a folder, or to s3://bucket/prefix."
        )
    bucket, _, prefix = location[scheme.end() :].partition("/")
    # This is not imported with the others above: boto3 costs memory and a moment, which a folder need not pay for.
    from callboard.storage.s3 import open_bucket

    return open_bucket(bucket, prefix.strip("/"), endpoint)
