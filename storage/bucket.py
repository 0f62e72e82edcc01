"""Open the bucket that the settings name, with a boto3 client for it.

The credentials come from where boto3 looks for them: `AWS_ACCESS_KEY_ID` and its kin, a profile, a role of the host.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from schemas.errors import ConfigurationError
from storage.s3 import MAX_CONNECTIONS, S3Store
from storage.store import check_key

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CONNECT_TIMEOUT = 3
"""Seconds for a connection. A host that is down is found out by the third try, while `readyz` still waits."""
_READ_TIMEOUT = 20
"""Seconds without a byte. A large object may take any time, as long as something arrives."""
_MAX_ATTEMPTS = 3
"""How often a call is tried, including calls that are throttled or break off. A caller that can wait longer repeats
after the StoreError."""

_BUCKET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")


def open_bucket(bucket: str, prefix: str, endpoint: str | None) -> S3Store:
    """Return the store below `prefix` in `bucket`, on AWS or at `endpoint`. No call is made yet.

    Raises:
        ConfigurationError: Name, prefix or endpoint is invalid, or AWS's own settings are wrong.
    """
    if not _BUCKET_NAME.fullmatch(bucket):
        raise ConfigurationError(
            f"CALLBOARD_ARTIFACTS: {bucket!r} is not the name of a bucket. Set it to s3://bucket/prefix."
        )
    if prefix:
        try:
            check_key(prefix)
        except ValueError:
            raise ConfigurationError(
                f"CALLBOARD_ARTIFACTS: {prefix!r} is not a prefix of keys. Set it to plain words with slashes between."
            ) from None
    if endpoint is not None and not re.match(r"https?://[^/]", endpoint):
        raise ConfigurationError(
            f"CALLBOARD_ARTIFACTS_ENDPOINT: {endpoint!r} is not an address. Set it to one like https://s3.example.com:9000."
        )
    try:
        client: S3Client = boto3.Session().client(  # pyright: ignore[reportUnknownMemberType] - its other services are unknown
            "s3", endpoint_url=endpoint, config=_client_config(s3_compatible=endpoint is not None)
        )
    except (BotoCoreError, ValueError) as error:
        raise ConfigurationError(f"The artifact store cannot be opened: {str(error).rstrip('.')}.") from error
    return S3Store(bucket, prefix, client)


def _client_config(*, s3_compatible: bool) -> Config:
    """Return the boto3 configuration: time limits for every call.

    For a store other than AWS (`s3_compatible`), it uses only what all such stores understand.
    """
    config = Config(
        connect_timeout=_CONNECT_TIMEOUT,
        read_timeout=_READ_TIMEOUT,
        retries={"mode": "standard", "total_max_attempts": _MAX_ATTEMPTS},
        max_pool_connections=MAX_CONNECTIONS,
        tcp_keepalive=True,
    )
    if not s3_compatible:
        return config
    return config.merge(
        Config(
            s3={"addressing_style": "path"},  # a host name for each bucket would need DNS entries of its own
            # The trailing checksums that boto3 sends to AWS and expects of it are not supported everywhere.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
    )
