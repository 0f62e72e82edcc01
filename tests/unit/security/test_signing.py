from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from callboard.dev.data_folder import new_webhook_secret
from callboard.schemas.errors import ConfigurationError
from callboard.security.signing import WebhookSigner

BODY = '{"n":1,"text":"é"}'.encode()


def secret_of(length: int) -> str:
    return "whsec_" + base64.b64encode(bytes(range(length))).decode()


def test_what_is_signed_verifies_with_the_package_of_the_standard() -> None:
    secret = new_webhook_secret()
    headers = WebhookSigner([secret]).sign("run-1", datetime.now(UTC), BODY)
    assert set(headers) == {"webhook-id", "webhook-timestamp", "webhook-signature"}
    assert Webhook(secret).verify(BODY, headers) == {"n": 1, "text": "é"}
    for changed in (BODY + b" ", BODY.replace(b"1", b"2")):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(changed, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY, headers | {"webhook-id": "run-2"})


def test_while_secrets_are_rotated_both_are_valid() -> None:
    new, old = new_webhook_secret(), new_webhook_secret()
    headers = WebhookSigner([new, old]).sign("run-1", datetime.now(UTC), BODY)
    assert Webhook(new).verify(BODY, headers) == Webhook(old).verify(BODY, headers)
    assert (
        headers["webhook-signature"].split(" ")[0]
        == WebhookSigner([new]).sign("run-1", datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC), BODY)[
            "webhook-signature"
        ]
    ), "the newest is first"
    with pytest.raises(WebhookVerificationError):
        Webhook(new_webhook_secret()).verify(BODY, headers)


def test_the_time_is_that_of_the_try_in_whatever_zone_it_is_told() -> None:
    secret, now = new_webhook_secret(), datetime.now(UTC)
    far = now.astimezone(tz=None)
    assert WebhookSigner([secret]).sign("x", now, BODY) == WebhookSigner([secret]).sign("x", far, BODY)
    early = WebhookSigner([secret]).sign("x", now - timedelta(hours=1), BODY)
    with pytest.raises(WebhookVerificationError, match="too old"):
        Webhook(secret).verify(BODY, early)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "s3cret-that-is-not-told",
        secret_of(32).removeprefix("whsec_"),
        secret_of(23),
        secret_of(65),
        secret_of(32) + "!",
        secret_of(32).replace("whsec_", "whsec_ "),
        "whsec_" + "A" * 33,
    ],
)
def test_what_is_no_secret_is_told_at_the_start_without_being_repeated(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="secret number 2 is not a secret") as error:
        WebhookSigner([new_webhook_secret(), secret])
    assert secret in ("", "whsec_") or secret not in error.value.message
    assert error.value.__cause__ is None


@pytest.mark.parametrize("secret", [secret_of(24), secret_of(32).rstrip("="), secret_of(64)])
def test_secrets_of_all_lengths_of_the_standard_are_taken(secret: str) -> None:
    headers = WebhookSigner([secret]).sign("x", datetime.now(UTC), BODY)
    Webhook(secret).verify(BODY, headers)


def test_without_a_secret_nothing_is_signed_and_that_is_said() -> None:
    with pytest.raises(ConfigurationError, match="CALLBOARD_WEBHOOK_SECRETS is not set"):
        WebhookSigner([]).sign("x", datetime.now(UTC), BODY)


def test_it_prints_no_secret() -> None:
    assert secret_of(32).removeprefix("whsec_") not in repr(WebhookSigner([secret_of(32)]))
