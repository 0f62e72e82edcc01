"""The request of a webhook: signed, the same each time but for the time, with the user's headers beside ours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from activities.deliveries import webhook_sink as kind
from activities.deliveries.http_sender import PreparedRequest, SinkResponse
from callboard.dev.data_folder import new_webhook_secret
from callboard.schemas.errors import SealError
from callboard.schemas.workflow.delivery import DeliverInput
from callboard.security import seal_context
from callboard.security.sealed_sinks import seal_webhook
from callboard.security.signing import WebhookSigner
from tests.support.delivery_inputs import RING, delivery, webhook
from tests.support.present import present
from tests.support.stage import WORKSPACE

BODY = b'{"n":1}'
SECRET = new_webhook_secret()
NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)


def prepare(
    url: str = "https://hook.example/in?key=k3y-value&n=1", at: datetime = NOW, **fields: Any
) -> PreparedRequest:
    return build(delivery(webhook(url, **fields), run_id="run-7"), at)


def build(input: DeliverInput, at: datetime = NOW) -> PreparedRequest:
    signer = WebhookSigner([SECRET])
    hook = present(input.sink.webhook)
    return kind.build_request(input, hook, BODY, at=at, keyring=RING, signer=signer, user_agent="callboard/1.2")


def test_it_is_a_signed_post_of_json() -> None:
    request = prepare(at=datetime.now(UTC)).request
    assert (request.method, str(request.url)) == ("POST", "https://hook.example/in?key=k3y-value&n=1")
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == "callboard/1.2"
    assert request.headers["webhook-id"] == "run-7"
    assert request.headers["content-length"] == str(len(BODY))
    assert Webhook(SECRET).verify(BODY, dict(request.headers)) == {"n": 1}


def test_a_webhook_with_a_secret_of_its_own_is_signed_with_that() -> None:
    own, bound_to = new_webhook_secret(), seal_context.run(WORKSPACE, "shop", "run-7")
    hook = seal_webhook("https://hook.example", {}, RING, bound_to, secret=own)
    assert own not in repr(hook)
    input = delivery(webhook("https://hook.example"), run_id="run-7")
    sink = input.sink.model_copy(update={"webhook": hook})
    request = build(input.model_copy(update={"sink": sink}), datetime.now(UTC)).request
    assert Webhook(own).verify(BODY, dict(request.headers)) == {"n": 1}
    assert len(request.headers["webhook-signature"].split()) == 1, "nobody else's is there"


def test_another_try_differs_in_time_and_signature_only() -> None:
    first, second = prepare().request, prepare(at=NOW + timedelta(seconds=10)).request
    differing = {name for name, value in first.headers.items() if second.headers[name] != value}
    assert differing == {"webhook-timestamp", "webhook-signature"}


def test_the_user_s_headers_are_added_and_a_user_agent_of_theirs_wins() -> None:
    request = prepare(headers={"Authorization": "Bearer of-bad-news", "User-Agent": "mine", "X-Empty": ""}).request
    assert request.headers["authorization"] == "Bearer of-bad-news"
    assert request.headers["user-agent"] == "mine"
    assert request.headers["x-empty"] == ""


def test_what_must_not_be_read_is_known_and_not_printed() -> None:
    out = prepare(headers={"authorization": "Bearer of-bad-news"})
    assert out.secrets == {"Bearer of-bad-news", "key=k3y-value&n=1", "k3y-value", "1"}
    assert "k3y" not in repr(delivery(webhook("https://hook.example/in?key=k3y-value")))
    assert "k3y" not in delivery(webhook("https://hook.example/in?key=k3y-value")).model_dump_json()


def test_what_was_sealed_for_another_run_does_not_open() -> None:
    stolen = delivery(webhook("https://hook.example"), run_id="run-1").model_copy(update={"run_id": "run-2"})
    with pytest.raises(SealError):
        build(stolen)


@given(st.integers(200, 999))
def test_only_200_to_299_is_delivered(status: int) -> None:
    verdict = kind.classify_response(SinkResponse(status, httpx.Headers(), b"", timedelta()))
    why = {3: ", a redirect, and redirects are not followed"}.get(status // 100, "")
    why = ": it wants nothing any more" if status == 410 else why
    assert verdict.message == (None if status < 300 else f"The receiver answered {status}{why}.")
    assert verdict.final is (status == 410)
