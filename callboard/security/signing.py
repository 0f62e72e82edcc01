"""Sign what is delivered, according to Standard Webhooks: with every valid secret, newest first."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from datetime import UTC, datetime

from standardwebhooks.webhooks import Webhook

from callboard.schemas.errors import ConfigurationError

WHSEC_PREFIX = "whsec_"

_SHORTEST, _LONGEST = 24, 64
"""Fewest and most bytes of a secret, according to Standard Webhooks."""
WEBHOOK_SECRET = f"{WHSEC_PREFIX} and the base64 of {_SHORTEST} to {_LONGEST} random bytes"
"""What a secret looks like."""
_SECRET = re.compile(rf"{WHSEC_PREFIX}[A-Za-z0-9+/]+={{0,2}}", re.ASCII)


class WebhookSigner:
    """Signs with all secrets at once, so that receivers may change to another secret when it suits them."""

    def __init__(self, webhook_secrets: Sequence[str]) -> None:
        """Take the secrets, newest first; if there are none, `sign` raises an error that says so.

        Raises:
            ConfigurationError: One of them is not a valid secret. The message does not repeat it.
        """
        self._webhooks = [_webhook(secret, position) for position, secret in enumerate(webhook_secrets, start=1)]

    def sign(self, message_id: str, at: datetime, body: bytes) -> dict[str, str]:
        """Return the three headers for `body` (UTF-8) when it is sent at this time.

        Raises:
            ConfigurationError: There is no secret.
        """
        if not self._webhooks:
            raise ConfigurationError(
                "CALLBOARD_WEBHOOK_SECRETS is not set, and webhooks are signed with it. Set it for every worker to one "
                f"or more secrets, newest first, comma-separated: {WHSEC_PREFIX} and the base64 of 32 random bytes."
            )
        at = at.astimezone(UTC)
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": " ".join(webhook.sign(message_id, at, body.decode()) for webhook in self._webhooks),
        }


def read_secret(secret: str) -> bytes:
    """Return the key that a secret has. Raises ValueError if it is not `WEBHOOK_SECRET`."""
    if not _SECRET.fullmatch(secret):
        raise ValueError("another alphabet")
    encoded = secret.removeprefix(WHSEC_PREFIX).rstrip("=")
    key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)  # binascii.Error is a ValueError
    if not _SHORTEST <= len(key) <= _LONGEST:
        raise ValueError("another length")
    return key


def _webhook(secret: str, position: int) -> Webhook:
    try:
        return Webhook(read_secret(secret))
    except ValueError:
        message = f"CALLBOARD_WEBHOOK_SECRETS: secret number {position} is not a secret. Set it to {WEBHOOK_SECRET}."
        raise ConfigurationError(message) from None
