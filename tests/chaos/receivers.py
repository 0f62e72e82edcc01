"""Receivers of results: a webhook that does not always answer well, and a bucket."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from standardwebhooks import Webhook, WebhookVerificationError

from tests.chaos.installation import WEBHOOK_SECRET
from tests.chaos.record import Delivered
from tests.support.webhook_receiver import Receiver, answers, hangs, receiver, resets

_REPLIES = (answers(), answers("500 Internal Server Error"), resets, hangs)
_WEIGHTS = (88, 6, 4, 2)


class MoodyWebhook:
    """A receiver that verifies and keeps what it is sent, and then answers well or not."""

    def __init__(self, seed: int) -> None:
        self.delivered: list[Delivered] = []
        self._chance = random.Random(seed)
        self._receiver: Receiver

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._receiver.url

    @classmethod
    @asynccontextmanager
    async def up(cls, seed: int) -> AsyncGenerator[MoodyWebhook]:
        """Listen until the block ends."""
        webhook = cls(seed)
        async with receiver(webhook._reply) as webhook._receiver:
            yield webhook

    async def _reply(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = self._receiver.received.pop()
        try:
            Webhook(WEBHOOK_SECRET).verify(request.body, request.headers)
            signed = True
        except WebhookVerificationError:
            signed = False
        self.delivered.append(
            Delivered(
                id=request.headers.get("webhook-id", ""), sink="webhook", body=request.body.decode(), signed=signed
            )
        )
        (reply,) = self._chance.choices(_REPLIES, _WEIGHTS)
        await reply(reader, writer)


def read_bucket(folder: Path) -> list[Delivered]:
    """Return what was delivered to a bucket, which is this folder."""
    return [Delivered(id=path.stem, sink="bucket", body=path.read_text()) for path in folder.glob("*.json")]
