"""The guarded transport on real servers: it connects to what was checked, and says whom it talks to."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx
import pytest

from callboard.dev import ports
from callboard.schemas.errors import EgressRefused
from callboard.security.egress import EgressPolicy
from callboard.security.pinned_transport import PinnedTransport
from tests.support.certificates import Certificate, make_certificate
from tests.support.constants import LOOPBACK
from tests.support.webhook_receiver import Receiver, answers, closes, hangs, receiver, resets, speaks_nonsense


class Names:
    """Looks names up: each look takes the next answer, and the last one is repeated."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.looked = 0

    async def __call__(self, _host: str, _port: int) -> list[str]:
        self.looked += 1
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


@asynccontextmanager
async def client(egress: EgressPolicy, tls: ssl.SSLContext | None = None) -> AsyncGenerator[httpx.AsyncClient]:
    transport = PinnedTransport(egress, tls=tls)
    async with httpx.AsyncClient(transport=transport, trust_env=False, timeout=5) as client:
        yield client


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def inbox() -> AsyncGenerator[Receiver]:
    async with receiver() as inbox:
        yield inbox


async def test_it_connects_to_the_checked_address_and_names_the_host(inbox: Receiver) -> None:
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    async with client(EgressPolicy(LOOPBACK, resolve=names)) as http:
        answer = await http.post(f"http://receiver.example:{inbox.port}/hook?x=%20", content=b"hello")
    assert (answer.status_code, answer.content) == (200, b"thanks")
    (request,) = inbox.received
    assert (request.method, request.target, request.body) == ("POST", "/hook?x=%20", b"hello")
    assert request.headers["host"] == f"receiver.example:{inbox.port}"
    assert names.looked == 1, "the name is looked up once, and what it leads to afterwards is of no matter"


async def test_a_name_that_was_public_is_not_followed_to_where_it_leads_now(
    inbox: Receiver,
) -> None:
    egress = EgressPolicy(resolve=Names(["8.8.8.8"], ["127.0.0.1"]))
    url = f"http://rebinding.example:{inbox.port}/"
    await egress.check_url(url)
    async with client(egress) as http:
        with pytest.raises(EgressRefused, match="leads to a loopback address"):
            await http.get(url)
    assert inbox.connections == 0


async def test_one_address_that_is_not_public_is_enough_to_connect_to_none(inbox: Receiver) -> None:
    async with client(EgressPolicy(resolve=Names(["8.8.8.8", "127.0.0.1"]))) as http:
        with pytest.raises(EgressRefused):
            await http.get(f"http://two-faced.example:{inbox.port}/")
    assert inbox.connections == 0


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    async with receiver(answers("302 Found", location="http://169.254.169.254/")) as inbox:
        async with client(EgressPolicy(LOOPBACK)) as http:
            assert (await http.get(inbox.url)).status_code == 302
        assert len(inbox.received) == 1


async def test_no_proxy_is_taken_from_the_environment(inbox: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with client(EgressPolicy(LOOPBACK)) as http:
        assert (await http.get(inbox.url)).status_code == 200


async def test_the_name_stands_in_tls_and_the_certificate_must_be_for_it(certificate: Certificate) -> None:
    asked: list[str | None] = []
    certificate.server.sni_callback = lambda _socket, name, _context: asked.append(name)
    trusting = ssl.create_default_context(cafile=str(certificate.file))
    names = Names(["127.0.0.1"])
    async with (
        receiver(tls=certificate.server) as inbox,
        client(EgressPolicy(LOOPBACK, resolve=names), trusting) as http,
    ):
        assert (await http.get(f"https://localhost:{inbox.port}/")).status_code == 200
        # The certificate is good for the address 127.0.0.1, which is not what was asked for.
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await http.get(f"https://receiver.example:{inbox.port}/")
    assert asked == ["localhost", "receiver.example"]


async def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: Certificate) -> None:
    async with receiver(tls=certificate.server) as inbox, client(EgressPolicy(LOOPBACK)) as http:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await http.get(f"https://localhost:{inbox.port}/")


async def test_no_connection_is_kept_for_another_request(inbox: Receiver) -> None:
    names = Names(["127.0.0.1"])
    async with client(EgressPolicy(LOOPBACK, resolve=names)) as http:
        for _ in range(3):
            await http.get(f"http://receiver.example:{inbox.port}/")
    assert (inbox.connections, names.looked) == (3, 3)


async def test_an_address_that_takes_no_connection_is_passed_over(inbox: Receiver) -> None:
    async with client(EgressPolicy(LOOPBACK, resolve=Names(["127.0.0.9", "::1", "127.0.0.1"]))) as http:
        assert (await http.get(f"http://receiver.example:{inbox.port}/")).status_code == 200


async def test_what_fails_is_told_in_the_words_of_the_system() -> None:
    free = ports.choose_ports({"--port": 0})["--port"]
    async with client(EgressPolicy(LOOPBACK)) as http:
        with pytest.raises(httpx.ConnectError, match=rf"^127\.0\.0\.1:{free}: Connection refused$"):
            await http.get(f"http://127.0.0.1:{free}/")

    async def away(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    async with client(EgressPolicy(resolve=away)) as http:
        with pytest.raises(httpx.ConnectError, match=r"^receiver.example cannot be looked up: Temporary failure"):
            await http.get("http://receiver.example/")


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (closes, httpx.RemoteProtocolError),
        (resets, httpx.ReadError),
        (speaks_nonsense, httpx.RemoteProtocolError),
        (hangs, httpx.ReadTimeout),
    ],
)
async def test_what_a_server_does_wrong_is_an_error_of_httpx(reply: object, kind: type[Exception]) -> None:
    async with receiver(reply) as inbox, client(EgressPolicy(LOOPBACK)) as http:  # pyright: ignore[reportArgumentType]
        with pytest.raises(kind):
            await http.get(inbox.url, timeout=0.3)


async def test_looking_up_and_connecting_take_no_longer_than_the_connect_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    async with client(EgressPolicy(resolve=never)) as http:
        began = time.monotonic()
        with pytest.raises(httpx.ConnectTimeout, match=r"receiver.example:80 takes no connection"):
            await http.get("http://receiver.example/", timeout=0.1)
        assert time.monotonic() - began < 20


async def test_a_request_that_is_given_up_leaves_no_connection() -> None:
    async with receiver(hangs) as inbox, client(EgressPolicy(LOOPBACK)) as http:
        asking = asyncio.create_task(http.get(inbox.url))
        await inbox.until(1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
