"""The request of a webhook: signed, the same each time but for the time, with the user's headers beside ours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from activities.deliveries import webhook_sink as kind
from activities.deliveries.http_sender import PreparedRequest, SinkResponse
from devstack.data_folder import new_webhook_secret
from schemas.errors import SealError
from security.signing import WebhookSigner
from tests.support.delivery_inputs import RING, delivery, webhook

BODY = b'{"n":1}'
SECRET = new_webhook_secret()
NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)


def prepare(
    url: str = "https://hook.example/in?key=k3y-value&n=1", at: datetime = NOW, **fields: Any
) -> PreparedRequest:
    input = delivery(webhook(url, **fields), run_id="run-7")
    assert input.sink.webhook is not None
    return kind.build_request(
        input, input.sink.webhook, BODY, at=at, keyring=RING, signer=WebhookSigner([SECRET]), user_agent="callboard/1.2"
    )


def test_it_is_a_signed_post_of_json() -> None:
    request = prepare(at=datetime.now(UTC)).request
    assert (request.method, str(request.url)) == ("POST", "https://hook.example/in?key=k3y-value&n=1")
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == "callboard/1.2"
    assert request.headers["webhook-id"] == "run-7"
    assert request.headers["content-length"] == str(len(BODY))
    assert Webhook(SECRET).verify(BODY, dict(request.headers)) == {"n": 1}


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
    input = delivery(webhook("https://hook.example"), run_id="run-1")
    other = input.model_copy(update={"run_id": "run-2"})
    assert input.sink.webhook is not None
    with pytest.raises(SealError):
        kind.build_request(
            other, input.sink.webhook, BODY, at=NOW, keyring=RING, signer=WebhookSigner([SECRET]), user_agent="x"
        )


@pytest.mark.parametrize(
    ("status", "message", "final"),
    [
        (200, None, False),
        (201, None, False),
        (204, None, False),
        (299, None, False),
        (301, "The receiver answered 301, a redirect, and redirects are not followed.", False),
        (304, "The receiver answered 304, a redirect, and redirects are not followed.", False),
        (400, "The receiver answered 400.", False),
        (404, "The receiver answered 404.", False),
        (410, "The receiver answered 410: it wants nothing any more.", True),
        (429, "The receiver answered 429.", False),
        (500, "The receiver answered 500.", False),
        (999, "The receiver answered 999.", False),
    ],
)
def test_only_200_to_299_is_delivered(status: int, message: str | None, final: bool) -> None:
    verdict = kind.classify_response(SinkResponse(status, httpx.Headers(), b"", timedelta()))
    assert (verdict.message, verdict.final) == (message, final)
