"""Sinks and proxies: sealed for their owner, opened again, and sealed for another owner."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from callboard.schemas.errors import SealError
from callboard.schemas.rest.sink import S3Sink, Sink, WebhookSink
from callboard.schemas.workflow.proxy import owned_by_auth_session, owned_by_job
from callboard.schemas.workflow.sink import SealedSink
from callboard.security import seal_context
from callboard.security.keyring import KeyRing
from callboard.security.sealed_proxies import open_proxy, seal_proxy
from callboard.security.sealed_sinks import delivery_schedule, open_sink, reseal_sink, seal_sink
from callboard.settings import Settings

RING = KeyRing(["a secret key of sixteen characters or more"])
SECRET = "t0p-s3cret"
JOB = seal_context.job("w", "shop", "nightly")
RUN = seal_context.run("w", "shop", "run-1")
WEBHOOK = {
    "type": "webhook",
    "url": f"https://receiver.example.com/in?token={SECRET}",
    "headers": {"authorization": f"Bearer {SECRET}"},
    "skipOnFail": True,
    "apisToSend": ["list"],
}
BUCKET = {
    "type": "s3",
    "bucket": "b-1",
    "region": "eu-central-1",
    "prefix": "runs",
    "endpoint": "https://s3.example.com",
    "forcePathStyle": True,
    "accessKeyId": "AKIDEXAMPLE",
    "secretAccessKey": SECRET,
    "skipOnFail": False,
    "apisToSend": None,
}
_SINK: TypeAdapter[WebhookSink | S3Sink] = TypeAdapter(Sink)


def sealed(sink: dict[str, Any], bound_to: str = JOB) -> SealedSink:
    return seal_sink(_SINK.validate_python(sink), delivery_schedule(Settings()), RING, bound_to)


@pytest.mark.parametrize("sink", [WEBHOOK, BUCKET])
def test_a_sealed_sink_opens_as_it_was_written_and_shows_no_secret(sink: dict[str, Any]) -> None:
    assert SECRET not in sealed(sink).model_dump_json()
    assert open_sink(sealed(sink), RING, JOB) == sink


@pytest.mark.parametrize("sink", [WEBHOOK, BUCKET])
def test_a_sink_opens_for_its_owner_alone(sink: dict[str, Any]) -> None:
    with pytest.raises(SealError):
        open_sink(sealed(sink), RING, RUN)


@pytest.mark.parametrize("sink", [WEBHOOK, BUCKET])
def test_a_sink_can_be_sealed_for_another_owner(sink: dict[str, Any]) -> None:
    moved = reseal_sink(sealed(sink), RING, bound_to=JOB, for_owner=RUN)
    assert open_sink(moved, RING, RUN) == sink
    assert moved.masked() == sealed(sink).masked()
    assert moved.schedule == sealed(sink).schedule
    with pytest.raises(SealError):
        open_sink(moved, RING, JOB)


@pytest.mark.parametrize(
    "url",
    ["http://proxy.example.com:3128", "https://anna:p%40ss%3Aword@proxy.example.com:3128", "http://anna@[::1]:3128"],
)
def test_a_proxy_opens_as_it_was_written_whoever_carries_it(url: str) -> None:
    proxy = seal_proxy(url, RING, workspace="w", project="shop", owner=owned_by_job("nightly"))
    assert "p@ss" not in proxy.model_dump_json()
    assert open_proxy(proxy, RING, workspace="w", project="shop", carrier="run-1") == url


def test_a_proxy_of_a_job_is_sealed_for_the_job() -> None:
    assert seal_context.run("w", "shop", owned_by_job("nightly")) == JOB


def test_a_proxy_without_an_owner_is_that_of_the_run_that_carries_it() -> None:
    proxy = seal_proxy("http://anna:x@proxy.test:1", RING, workspace="w", project="shop", owner="run-1")
    carried = proxy.model_copy(update={"owner": None})
    assert open_proxy(carried, RING, workspace="w", project="shop", carrier="run-1") == "http://anna:x@proxy.test:1"
    with pytest.raises(SealError):
        open_proxy(carried, RING, workspace="w", project="shop", carrier="run-2")


def test_only_the_own_proxy_of_an_auth_session_belongs_to_it() -> None:
    for owner, belongs in ((owned_by_auth_session("anna"), True), (owned_by_job("nightly"), False), ("run-1", False)):
        proxy = seal_proxy("http://proxy.test:1", RING, workspace="w", project="shop", owner=owner)
        assert proxy.belongs_to_auth_session is belongs
