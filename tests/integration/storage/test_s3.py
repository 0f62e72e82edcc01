"""What is particular to the bucket store: what goes wrong on the way to it. What it shares is in test_store.py."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from callboard.dev import ports
from callboard.schemas.errors import StoreError
from callboard.storage import object_keys as storage_keys
from callboard.storage.factory import open_store
from callboard.storage.s3 import MAX_CONNECTIONS, S3Store
from callboard.storage.store import Store
from tests.support.polling import until
from tests.support.repository import REPOSITORY
from tests.support.s3_policies import documented, policy_proxy
from tests.support.s3_server import BUCKET, S3Server


async def keys(store: Store, prefix: str = "", after: str | None = None) -> list[str]:
    if after is not None:
        return [entry.key async for entry in store.entries(prefix, after=after)]
    return [key async for key in store.list(prefix)]


def every_call(store: Store, file: Path) -> list[Callable[[], Awaitable[Any]]]:
    file.write_bytes(b"1")
    return [
        lambda: store.put("a/b", b"1"),
        lambda: store.put_file("a/b", file),
        lambda: store.get("a/b"),
        lambda: store.get_file("a/b", file),
        lambda: store.exists("a/b"),
        lambda: store.delete("a/b"),
        lambda: keys(store, "a/b"),
        lambda: keys(store, "a/b", after="a"),
        store.check,
    ]


async def check_that_every_call_says(store: Store, sentence: str, file: Path) -> None:
    for call in every_call(store, file):
        with pytest.raises(StoreError) as error:
            await call()
        message = error.value.message
        assert message.startswith("The artifact store s3://"), message
        assert message.endswith(f": {sentence}."), message
        assert "'a/b'" in message or "'check/" in message, message


async def test_a_server_that_is_down_is_told_soon_and_by_its_address(with_keys: S3Server, tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{ports.choose_ports({'': 0})['']}"
    store = open_store(f"s3://{BUCKET}/x", endpoint=nobody)
    calls = every_call(store, tmp_path / "file")
    async with asyncio.timeout(20):  # and not minutes
        errors = await asyncio.gather(*(call() for call in calls), return_exceptions=True)
    for error in errors:
        assert isinstance(error, StoreError)
        assert error.message.endswith(f": {nobody} cannot be reached.")


async def test_a_missing_bucket_is_an_error_and_not_a_missing_key(with_keys: S3Server, tmp_path: Path) -> None:
    store = open_store("s3://nothing-here/x", endpoint=with_keys.endpoint)
    await check_that_every_call_says(store, "The specified bucket does not exist (NoSuchBucket)", tmp_path / "file")


async def test_a_wrong_secret_is_told(with_keys: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    store = open_store(f"s3://{BUCKET}/x", endpoint=with_keys.endpoint)
    with pytest.raises(StoreError, match=r"could not read 'a/b': .*\(SignatureDoesNotMatch\)\.") as error:
        await store.get("a/b")
    assert "not-the-secret" not in error.value.message
    for call in every_call(store, tmp_path / "file"):
        with pytest.raises(StoreError, match=r"\(SignatureDoesNotMatch\)\.$"):
            await call()


async def test_an_unknown_access_key_is_told(
    with_keys: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody-of-this-name")
    store = open_store(f"s3://{BUCKET}/x", endpoint=with_keys.endpoint)
    for call in every_call(store, tmp_path / "file"):
        with pytest.raises(StoreError, match=r"\(InvalidAccessKeyId\)\.$"):
            await call()


async def test_without_keys_it_says_where_they_are_looked_for(
    with_keys: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    store = open_store(f"s3://{BUCKET}/x", endpoint=with_keys.endpoint)
    await check_that_every_call_says(
        store,
        "there are no AWS credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role",
        tmp_path / "file",
    )


async def test_the_policy_of_a_worker_with_a_browser_closes_what_is_not_for_it(with_keys: S3Server) -> None:
    """And S3 tells such a worker of no object that it is not there."""
    whole = open_store(f"s3://{BUCKET}", endpoint=with_keys.endpoint)
    hidden = [make("x") for make in (storage_keys.variables, storage_keys.audit_day)]
    hidden = [
        f"{prefix}1"
        for prefix in (*hidden, storage_keys.API_KEYS, storage_keys.ENDED_SESSIONS, "uploads/x/", "jobs/x/")
    ]
    for key in hidden:
        await whole.put(key, b"secret")
    async with policy_proxy(with_keys.endpoint, {with_keys.access_key: documented("browser", BUCKET)}) as (_, port):
        store = open_store(f"s3://{BUCKET}", endpoint=f"http://127.0.0.1:{port}")
        key = storage_keys.record("shop", "run-1", 1)
        assert (await store.get(key), await store.exists(key)) == (None, False)
        await store.put(key, b"1")
        assert (await store.get(key), await store.exists(key)) == (b"1", True)
        assert await keys(store, "runs/shop/") == [key]
        for key in hidden:
            missing = f"{key}-that-is-not-there"
            for call in (store.get(key), store.get(missing), store.exists(key), keys(store, key), store.put(key, b"")):
                with pytest.raises(StoreError, match="Access Denied"):
                    await call
        with pytest.raises(StoreError, match="Access Denied"):
            await keys(store, "")
        with pytest.raises(StoreError, match="Access Denied"):
            await store.put(storage_keys.current_version("shop"), b"")
        for key in (storage_keys.upload_build("shop", "1"), storage_keys.upload_compiled("shop", "1")):
            await store.put(key, b"1")


async def test_prefixes_keep_stores_of_one_bucket_apart(with_keys: S3Server) -> None:
    one, two, all_of_it = (
        open_store(f"s3://{BUCKET}{prefix}", endpoint=with_keys.endpoint) for prefix in ("/deep/one", "/deep/two/", "")
    )
    await one.put("a", b"1")
    await two.put("a", b"2")
    assert [await one.get("a"), await two.get("a")] == [b"1", b"2"]
    assert [await keys(one), await keys(two)] == [["a"], ["a"]]
    assert await all_of_it.get("deep/one/a") == b"1"
    assert await keys(all_of_it, "deep/") == ["deep/one/a", "deep/two/a"]
    assert repr(two) == f"S3Store('s3://{BUCKET}/deep/two')"


async def test_more_calls_than_connections_wait_for_one_another(bucket: Store) -> None:
    numbers = range(MAX_CONNECTIONS * 4)
    await asyncio.gather(*(bucket.put(f"n/{number:03}", b"%d" % number) for number in numbers))
    assert await asyncio.gather(*(bucket.get(f"n/{number:03}") for number in numbers)) == [
        b"%d" % number for number in numbers
    ]


HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\ncontent-type: application/octet-stream\r\n"
    b'etag: "x"\r\nconnection: close\r\n\r\n'
)

type Answer = Callable[[asyncio.StreamWriter], Coroutine[Any, Any, None]]


@asynccontextmanager
async def unreliable(answers: list[Answer]) -> AsyncGenerator[tuple[Store, list[str]]]:
    """A store on a server that gives these answers, one a connection; and the requests that came."""
    requests: list[str] = []
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append((await reader.readuntil(b"\r\n\r\n")).decode().splitlines()[0])
        answer = asyncio.create_task(answers[len(requests) - 1](writer))
        await asyncio.wait({answer, asyncio.create_task(over.wait())}, return_when=asyncio.FIRST_COMPLETED)
        answer.cancel()
        with suppress(asyncio.CancelledError, ConnectionError):
            await answer
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = boto3.Session().client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}",
        config=Config(read_timeout=1, retries={"mode": "standard", "total_max_attempts": 1}),
    )
    try:
        yield S3Store("bucket", "", client), requests
    finally:
        over.set()
        server.close()
        await server.wait_closed()


async def breaks_off(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD % 10 + b"12345")
    await writer.drain()


async def stalls(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD % 10 + b"12345")
    await writer.drain()
    await asyncio.sleep(60)


async def is_whole(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD % 10 + b"1234567890")
    await writer.drain()


LISTED = b"""<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket</Name><Prefix/>
<KeyCount>5</KeyCount><MaxKeys>1000</MaxKeys><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>
<Contents><Key>projects/</Key></Contents><Contents><Key>projects/a</Key></Contents>
<Contents><Key>projects/a</Key></Contents><Contents><Key>projects/b/</Key></Contents>
<Contents><Key>projects/b/c+d%2B</Key></Contents></ListBucketResult>"""


async def test_lists_neither_folder_markers_nor_a_key_twice(with_keys: S3Server) -> None:
    async def is_listed(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD % len(LISTED) + LISTED)
        await writer.drain()

    async with unreliable([is_listed]) as (store, _):
        assert await keys(store) == ["projects/a", "projects/b/c d+"]


async def test_an_object_whose_stream_breaks_off_or_stalls_is_read_again(
    with_keys: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with unreliable([breaks_off, stalls, is_whole] * 2) as (store, requests):
        assert await store.get("a") == b"1234567890"
        assert await store.get_file("a", tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == b"1234567890"
        assert len(requests) == 6


async def test_a_download_that_keeps_breaking_off_fails_and_leaves_no_file(
    with_keys: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with unreliable([breaks_off] * 6) as (store, _):
        with pytest.raises(StoreError, match="could not read 'a': "):
            await store.get("a")
        with pytest.raises(StoreError, match="could not read 'a': "):
            await store.get_file("a", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


async def test_a_server_that_hangs_is_told(with_keys: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async with unreliable([hangs]) as (store, _):
        with pytest.raises(StoreError, match=r"could not read 'a': http://127\.0\.0\.1:\d+ did not answer in time\."):
            await store.get("a")


async def test_a_download_that_is_cancelled_stops_and_leaves_nothing(
    with_keys: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD % 2**40)
        while True:
            writer.write(b"x" * 2**20)
            await writer.drain()
            await asyncio.sleep(0.01)

    async with unreliable([endless]) as (store, _):
        download = asyncio.create_task(store.get_file("a", tmp_path / "out"))
        await until(lambda: any(path.stat().st_size for path in tmp_path.iterdir()))
        download.cancel()
        with pytest.raises(asyncio.CancelledError):
            await download
        await until(lambda: not list(tmp_path.iterdir()))


def test_a_folder_store_does_not_load_boto3() -> None:
    script = (
        "import sys; from callboard.storage.factory import open_store as o; o('x'); sys.exit('boto3' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, timeout=60).returncode == 0
