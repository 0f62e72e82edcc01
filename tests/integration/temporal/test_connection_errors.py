"""Why a connection to Temporal fails, in words for whoever has set it up."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from callboard.dev import ports
from callboard.dev.temporal import TemporalServer
from callboard.schemas.errors import ConfigurationError, Unavailable
from callboard.settings import Settings
from callboard.temporal.client import connect
from callboard.temporal.connection_config import find_connection
from callboard.temporal.health import TemporalHealth, check_access
from tests.support.certificates import Authority, Signed
from tests.support.cloud_proxy import CloudProxy

KEY = "the-right-key"


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, authority: Authority) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TEMPORAL_TLS_SERVER_CA_CERT_PATH", str(authority.file))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(authority: Authority) -> Signed:
    return authority.sign("server", "127.0.0.1")


@pytest.fixture(scope="module")
async def keyed(temporal: TemporalServer, server: Signed) -> AsyncIterator[CloudProxy]:
    async with CloudProxy(temporal.address, server, namespace="default", api_key=KEY) as proxy:
        yield proxy


@pytest.fixture(scope="module")
async def certified(temporal: TemporalServer, server: Signed, authority: Authority) -> AsyncIterator[CloudProxy]:
    client_ca = authority.file.read_bytes()
    async with CloudProxy(temporal.address, server, namespace="default", client_ca=client_ca) as proxy:
        yield proxy


def use(monkeypatch: pytest.MonkeyPatch, signed: Signed) -> None:
    monkeypatch.setenv("TEMPORAL_TLS_CLIENT_CERT_PATH", str(signed.certificate))
    monkeypatch.setenv("TEMPORAL_TLS_CLIENT_KEY_PATH", str(signed.key))


async def test_a_call_is_repeated_for_as_long_as_it_may_take() -> None:
    """Not only ten times, which takes some nine seconds: a result would be lost that exists."""
    client = await connect(Settings(), lazy=True, retry_timeout=timedelta(seconds=30))
    retry = client.service_client.config.retry_config
    assert retry
    waits = (retry.initial_interval_millis * retry.multiplier**count for count in range(retry.max_retries))
    waited = sum(min(wait, retry.max_interval_millis) for wait in waits)
    assert waited > (retry.max_elapsed_time_millis or 0) == 30_000


async def failure(address: str, kind: type[ConfigurationError | Unavailable]) -> str:
    """What everybody is told who connects: at once, at the first call, and in a first check."""
    settings = Settings(temporal_address=address)
    with pytest.raises(kind) as first:
        await connect(settings)
    client = await connect(settings, lazy=True, retry_timeout=timedelta(seconds=1))
    with pytest.raises(kind) as lazy:
        await TemporalHealth(client).check()
    assert type(first.value) is type(lazy.value) is kind
    if kind is ConfigurationError:
        with pytest.raises(kind):
            await check_access(settings, find_connection(settings))
    else:
        assert await check_access(settings, find_connection(settings))
    assert first.value.message == lazy.value.message
    assert address in first.value.message
    return first.value.message


async def test_what_is_right_is_let_in(
    monkeypatch: pytest.MonkeyPatch, keyed: CloudProxy, certified: CloudProxy, authority: Authority
) -> None:
    use(monkeypatch, authority.sign("client"))
    settings = Settings(temporal_address=certified.address)
    assert await check_access(settings, find_connection(settings)) is None
    monkeypatch.setenv("TEMPORAL_API_KEY", KEY)
    settings = Settings(temporal_address=keyed.address)
    assert await check_access(settings, find_connection(settings)) is None


async def test_an_api_key_that_is_wrong_or_missing(monkeypatch: pytest.MonkeyPatch, keyed: CloudProxy) -> None:
    assert "which has no API key. Set TEMPORAL_API_KEY" in await failure(keyed.address, ConfigurationError)
    monkeypatch.setenv("TEMPORAL_API_KEY", "another-key")
    message = await failure(keyed.address, ConfigurationError)
    assert "refuses the API key (TEMPORAL_API_KEY, or of the profile)" in message
    assert "another-key" not in message


async def test_another_namespace_than_that_of_the_key(monkeypatch: pytest.MonkeyPatch, keyed: CloudProxy) -> None:
    monkeypatch.setenv("TEMPORAL_API_KEY", KEY)
    settings = Settings(temporal_address=keyed.address, temporal_namespace="other")
    with pytest.raises(ConfigurationError, match=r"refuses this client: Request unauthorized\. .*TEMPORAL_NAMESPACE"):
        await check_access(settings, find_connection(settings))


async def test_a_client_certificate_that_is_missing_or_of_another_authority(
    monkeypatch: pytest.MonkeyPatch, certified: CloudProxy, tmp_path: Path
) -> None:
    message = await failure(certified.address, Unavailable)
    assert "It may ask for a client certificate, and there is none" in message
    use(monkeypatch, Authority(tmp_path, "another authority").sign("foreign"))
    message = await failure(certified.address, Unavailable)
    assert "closes the connection. It may refuse the client certificate" in message


async def test_tls_on_one_side_only(
    monkeypatch: pytest.MonkeyPatch, certified: CloudProxy, temporal: TemporalServer
) -> None:
    assert "does not speak TLS, and it is configured here" in await failure(temporal.address, ConfigurationError)
    monkeypatch.delenv("TEMPORAL_TLS_SERVER_CA_CERT_PATH")
    message = await failure(certified.address, Unavailable)
    assert "It may speak TLS only, and this connection is plain: set TEMPORAL_TLS=true." in message


async def test_a_server_that_cannot_be_trusted(
    monkeypatch: pytest.MonkeyPatch, keyed: CloudProxy, authority: Authority, tmp_path: Path
) -> None:
    monkeypatch.setenv("TEMPORAL_TLS_SERVER_NAME", "temporal.example")
    assert "is for another name" in await failure(keyed.address, ConfigurationError)
    monkeypatch.delenv("TEMPORAL_TLS_SERVER_NAME")
    monkeypatch.setenv("TEMPORAL_TLS_SERVER_CA_CERT_PATH", str(Authority(tmp_path, "another authority").file))
    assert "is not signed by an authority that this host trusts" in await failure(keyed.address, ConfigurationError)
    monkeypatch.setenv("TEMPORAL_TLS_SERVER_CA_CERT_PATH", str(authority.file))
    ended = authority.sign("ended", "127.0.0.1", valid=-timedelta(days=1))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(ended.certificate, ended.key)
    context.set_alpn_protocols(["h2"])
    old = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    async with old:
        address = f"127.0.0.1:{old.sockets[0].getsockname()[1]}"
        assert "has expired. Its operator has to replace it." in await failure(address, ConfigurationError)


async def test_one_that_is_away() -> None:
    address = f"127.0.0.1:{ports.choose_ports({'': 0})['']}"
    assert await failure(address, Unavailable) == (
        f"Temporal cannot be reached at {address}. Start it, or set CALLBOARD_TEMPORAL_ADDRESS."
    )
