"""Keep the artifact store in an S3 bucket, or in an S3-compatible store: one object for each key, below one prefix.

S3 makes a write visible whole or not at all, and at once, so there is nothing to add to it. Only the calls that every
S3-compatible store answers alike are used: GetObject, PutObject, DeleteObject and ListObjectsV2. HEAD is not used, as
its errors cannot say what is missing, nor are uploads in parts, which a killed writer would leave behind, to be paid
for. One PUT takes up to 5 GiB.

To a client that may not list the whole bucket, S3 does not say that an object is missing: it answers 403. Then a list
of that one key tells whether it is missing. A client that may not list this, either, has no permission.

boto3 blocks, so its calls are made on threads of the store's own; those of the event loop are few, and a slow bucket
must not delay others that need them. The threads end with the store.

The credentials come from where boto3 looks for them: `AWS_ACCESS_KEY_ID` and its kin, a profile, a role of the host.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from callboard.schemas.errors import ConfigurationError, StoreError
from callboard.storage.store import Entry, Store, check_key, check_prefix, replace_file

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client

MAX_CONNECTIONS = 16
"""How many calls run at the same time, each with a thread and a connection. Further calls wait."""

_CHUNK_SIZE = 1024 * 1024
_READ_ATTEMPTS = 3
"""How often an object is read if its stream breaks off. boto3 repeats what comes before the stream, but not the
stream."""

_CONNECT_TIMEOUT = 3
"""Seconds for a connection. A host that is down is found out by the third try, while `readyz` still waits."""
_READ_TIMEOUT = 20
"""Seconds without a byte. A large object may take any time, as long as something arrives."""
_MAX_ATTEMPTS = 3
"""How often a call is tried, including calls that are throttled or break off. A caller that can wait longer repeats
after the StoreError."""

_BUCKET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_STREAM_ERRORS = (IncompleteReadError, ReadTimeoutError, ResponseStreamingError)


class S3Store(Store):
    """A store in a bucket.

    Args:
        bucket: The name of the bucket, which has to exist.
        prefix: The prefix of every key, with one slash between; may be empty.
        client: The boto3 client, with as many connections as `MAX_CONNECTIONS`, and time limits for each call.
    """

    def __init__(self, bucket: str, prefix: str, client: S3Client) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._client = client
        self.name = f"s3://{bucket}/{prefix}".rstrip("/")
        self._threads = ThreadPoolExecutor(MAX_CONNECTIONS, thread_name_prefix="s3")

    async def put(self, key: str, data: bytes) -> None:
        """Write `data` under `key`, replacing what was there."""
        place = self._full_key(key)
        await self._run_in_thread(
            "write", key, lambda: self._client.put_object(Bucket=self._bucket, Key=place, Body=data)
        )

    async def put_file(self, key: str, path: Path) -> None:
        """Write the contents of the local file `path` under `key`."""
        place = self._full_key(key)
        await self._run_in_thread("write", key, lambda: self._upload(place, path))

    async def get(self, key: str) -> bytes | None:
        """Return the object under `key`, or None if there is none."""
        place = self._full_key(key)
        return await self._run_in_thread("read", key, lambda: self._read(place, lambda body: body.read()))

    async def get_part(self, key: str, begin: int, size: int) -> bytes | None:
        """Return these bytes of the object under `key`, of which it has the first; None if there is no object."""
        place, part = self._full_key(key), f"bytes={begin}-{begin + size - 1}"
        return await self._run_in_thread("read", key, lambda: self._read(place, lambda body: body.read(), part))

    async def get_file(self, key: str, path: Path) -> bool:
        """Write the object under `key` to the local file `path`; return False if there is none."""
        place = self._full_key(key)
        abandoned = threading.Event()
        try:
            found = await self._run_in_thread(
                "read", key, lambda: self._read(place, lambda body: _download(body, path, abandoned))
            )
        finally:
            abandoned.set()  # A cancelled caller may remove the folder; the thread must not go on filling it.
        return found is not None

    async def exists(self, key: str) -> bool:
        """Tell whether there is an object under `key`."""
        place = self._full_key(key)
        return await self._run_in_thread("look for", key, lambda: self._exists(place))

    async def delete(self, key: str) -> None:
        """Remove the object under `key`."""
        place = self._full_key(key)
        await self._run_in_thread("remove", key, lambda: self._client.delete_object(Bucket=self._bucket, Key=place))

    async def entries(self, prefix: str, *, after: str = "") -> AsyncIterator[Entry]:
        """Yield these keys with size, time and tag of their last write, from the first key after `after` on."""
        check_prefix(prefix)
        paginate = self._client.get_paginator("list_objects_v2").paginate
        begin = self._prefix + prefix
        pages = iter(
            paginate(Bucket=self._bucket, Prefix=begin, StartAfter=self._prefix + after)
            if after
            else paginate(Bucket=self._bucket, Prefix=begin)
        )
        last = ""
        while (page := await self._run_in_thread("list", prefix, lambda: next(pages, None))) is not None:
            for item in page.get("Contents", ()):
                place = item.get("Key", "")
                # This skips empty objects that S3 consoles create to show a folder, and a key that comes twice because
                # its object was being replaced: S3 itself does no such thing, but servers over a file system do.
                if not place.endswith("/") and place != last:
                    # Every server gives the time; if one does not, its objects never count as old.
                    modified = item.get("LastModified", datetime.now(UTC))
                    key, size = place.removeprefix(self._prefix), item.get("Size", 0)
                    yield Entry(key, size, modified.astimezone(UTC), item.get("ETag"))
                last = place

    def _full_key(self, key: str) -> str:
        check_key(key)
        return self._prefix + key

    async def _run_in_thread[T](self, what: str, key: str, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except (BotoCoreError, ClientError, OSError) as error:
            reason = self._reason(error)
            raise StoreError(f"The artifact store {self.name} could not {what} {key!r}: {reason}.") from error

    def _upload(self, place: str, path: Path) -> None:
        with path.open("rb") as file:
            self._client.put_object(Bucket=self._bucket, Key=place, Body=file)

    def _read[T](self, place: str, take: Callable[[StreamingBody], T], part: str | None = None) -> T | None:
        """Return what `take` returns for the object, or this part of it, or None if there is none."""
        for tries_left in reversed(range(_READ_ATTEMPTS)):
            try:
                if part is None:
                    body = self._client.get_object(Bucket=self._bucket, Key=place)["Body"]
                else:
                    body = self._client.get_object(Bucket=self._bucket, Key=place, Range=part)["Body"]
            except self._client.exceptions.NoSuchKey:
                return None
            except ClientError as error:
                if self._is_refused_as_missing(error, place):
                    return None
                raise
            try:
                with closing(body):
                    return take(body)
            except _STREAM_ERRORS:
                if not tries_left:
                    raise
        raise AssertionError("the last try returns or raises")

    def _exists(self, place: str) -> bool:
        try:
            self._client.get_object(Bucket=self._bucket, Key=place, Range="bytes=0-0")["Body"].close()
        except self._client.exceptions.NoSuchKey:
            return False
        except ClientError as error:
            if self._is_refused_as_missing(error, place):
                return False
            if _error_code(error) != "InvalidRange":  # that is the answer for an empty object
                raise
        return True

    def _is_refused_as_missing(self, error: ClientError, place: str) -> bool:
        """Tell whether a read was refused only because there is no such object. Raises ClientError if it was not."""
        if _error_code(error) != "AccessDenied":
            return False
        listed = self._client.list_objects_v2(Bucket=self._bucket, Prefix=place, MaxKeys=1)
        return all(item.get("Key") != place for item in listed.get("Contents", ()))

    def _reason(self, error: Exception) -> str:
        match error:
            case EndpointConnectionError() | ConnectTimeoutError():
                return f"{self._client.meta.endpoint_url} cannot be reached"
            case ReadTimeoutError():
                return f"{self._client.meta.endpoint_url} did not answer in time"
            case NoCredentialsError() | PartialCredentialsError():
                return (
                    "there are no AWS credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role"
                )
            case ClientError():
                code, message = _error_code(error), error.response.get("Error", {}).get("Message", "")
                return f"{message.rstrip('.')} ({code})" if message else code
            case OSError(strerror=str(reason)):
                return reason
            case _:
                return str(error).rstrip(".") or type(error).__name__


def _error_code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "no error code")


def _download(body: StreamingBody, path: Path, abandoned: threading.Event) -> bool:
    def fill(temporary: Path) -> None:
        with temporary.open("xb") as file:
            for chunk in body.iter_chunks(_CHUNK_SIZE):
                if abandoned.is_set():
                    raise InterruptedError("nobody waits for this file any more")
                file.write(chunk)

    replace_file(path, fill)
    return True


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
