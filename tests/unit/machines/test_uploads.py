"""Uploads of helpers to the platform's storage, which become files of the Attempt."""

from __future__ import annotations

import os
import socket
import struct
import threading
from pathlib import Path

import httpx
import pytest
from _intuned_runtime_internal.backend_functions._call_backend_function import call_backend_function
from intuned_runtime import IntunedContext, PlatformOnlyError, RunContext
from pydantic import BaseModel, Field

from tests.support.polling import until


class _Addresses(BaseModel):
    write: str = Field(alias="writeSignedUrl")
    read: str = Field(alias="readSignedUrl")


class _Cached(BaseModel):
    value: dict[str, int] | None = None


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of files of an Attempt that runs; variables of its project name a proxy that cannot be reached."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "shop.test")
    monkeypatch.setattr(IntunedContext, "_current", IntunedContext(run_context=RunContext(run_id="local")))
    return tmp_path / "output"


async def _announced() -> _Addresses:
    return await call_backend_function("files/uploadSignedUrls", _Addresses, method="GET")


async def _put(address: str, content: bytes) -> int:
    async with httpx.AsyncClient() as client:
        return (await client.put(address, content=content)).status_code


async def test_an_address_takes_one_upload_and_nobody_can_guess_it(output: Path) -> None:
    first, second = await _announced(), await _announced()
    assert await _put(second.write, b"second") == 200
    assert await _put(first.write, b"") == 200
    statuses = [await _put(first.write, b"again"), await _put(f"{second.write.rpartition('/')[0]}/1", b"a guess")]
    assert statuses == [404, 404]
    assert {file.name: file.read_bytes() for file in (output / "uploads").iterdir()} == {"1": b"", "2": b"second"}
    assert (first.read, second.read) == tuple((output / "uploads" / name).as_uri() for name in ("1", "2"))


async def test_an_upload_replaces_no_file_of_the_code(output: Path) -> None:
    addresses = await _announced()
    (output / "uploads" / "1").write_bytes(b"the code's own")
    # It is more than a socket takes before somebody reads it.
    assert await _put(addresses.write, bytes(30_000_000)) == 507
    assert (output / "uploads" / "1").read_bytes() == b"the code's own"


async def test_an_upload_that_is_cut_off_leaves_nothing_and_can_be_repeated(
    output: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    address, file = (await _announced()).write, output / "uploads" / "1"
    url = httpx.URL(address)
    with socket.create_connection((url.host, url.port)) as connection:
        connection.sendall(f"PUT {url.path} HTTP/1.1\r\ncontent-length: 1000\r\n\r\nfour".encode())
        await until(file.exists)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # It is not ended, but cut.
    await until(lambda: not any("process_request" in thread.name for thread in threading.enumerate()))
    assert (file.exists(), capfd.readouterr().err) == (False, "")
    assert await _put(address, b"whole") == 200


async def test_what_was_reached_past_the_proxy_still_is(output: Path) -> None:
    await _announced()
    await _announced()
    assert (os.environ["NO_PROXY"], os.environ["no_proxy"]) == ("shop.test,127.0.0.1", "shop.test,127.0.0.1")


async def test_nothing_is_cached_and_what_the_platform_alone_has_says_so(output: Path) -> None:
    await call_backend_function("cache/key", _Cached, method="PUT", params=_Cached(value={"value": 1}))
    assert (await call_backend_function("cache/key", _Cached)).value is None
    with pytest.raises(PlatformOnlyError, match=r"auth-session/.* needs a service of Intuned's platform"):
        await call_backend_function("auth-session/anna/parameters", _Cached)
    assert not output.exists()
