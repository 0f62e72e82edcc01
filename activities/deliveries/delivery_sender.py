"""Make one try of a Delivery and report its result, which holds no secret."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx

from activities.deliveries import s3_sink, webhook_sink
from activities.deliveries.http_sender import RESPONSE_KEPT, PreparedRequest, SendError, exchange
from activities.deliveries.payload import GoneError
from activities.store_retry import retry_store
from callboard.schemas.errors import CallboardError, SealError
from callboard.schemas.workflow.delivery import DeliverInput, TryProblem, TryRecord
from callboard.security.keyring import KeyRing, mask_sealed
from callboard.security.masking import Masker
from callboard.security.signing import WebhookSigner
from callboard.storage.store import Store

_STORE_TIMEOUT = timedelta(seconds=20)
_STOPPED = "The worker was stopped, or Temporal had given the try up, before an answer came."


@dataclass(frozen=True)
class SendResult:
    """The result of a try."""

    record: TryRecord
    failure: str | None = None
    """Why the Delivery did not arrive; None if it did."""
    final: bool = False
    """Whether no other try can succeed."""
    retry_after: timedelta | None = None
    """Time after which the receiver wants to be asked again."""


@dataclass(frozen=True, kw_only=True)
class DeliverySender:
    """Sends Deliveries, one try at a time."""

    store: Store
    """The artifact store, which holds what is sent."""
    transport: httpx.AsyncBaseTransport
    """A guarded transport. Whoever created it closes it."""
    keyring: KeyRing
    signer: WebhookSigner
    user_agent: str

    async def send_stored(self, delivery: DeliverInput, body_key: str, at: datetime) -> SendResult:
        """Send the stored body once. A cancel ends the try, and is returned as its result.

        Raises:
            GoneError: The body is not in the store any more.
        """
        try:
            body = await retry_store(_STORE_TIMEOUT, lambda: self.store.get(body_key))
        except CallboardError as error:
            return _not_sent(at, error)
        if body is None:
            raise GoneError(f"{body_key} is not in the artifact store any more.")
        return await self.send(delivery, body, at)

    async def send(self, delivery: DeliverInput, body: bytes, at: datetime) -> SendResult:
        """Send this body once. A cancel ends the try, and is returned as its result."""
        try:
            prepared = self._build_request(delivery, body, at)
        except CallboardError as error:
            return _not_sent(at, error)
        masker = Masker(prepared.secrets)

        def mask(text: str) -> str:  # a receiver may send back links, also those of another try
            return mask_sealed(masker.mask_text(text))

        started = time.monotonic()
        try:
            response = await exchange(self.transport, prepared.request, delivery.sink.schedule.timeout)
        except SendError as error:
            return _no_answer(at, started, _masked(error.problem, mask))
        except asyncio.CancelledError:
            stopped = TryProblem(type="WorkerStopped", message=_STOPPED)
            return _no_answer(at, started, stopped)
        verdict = prepared.classify_response(response)
        record = TryRecord(
            at=at,
            status_code=response.status,
            error=None if verdict.problem is None else _masked(verdict.problem, mask),
            latency=response.latency,
            answer=mask(response.beginning.decode("utf-8", "replace"))[:RESPONSE_KEPT],
        )
        message = None if verdict.message is None else mask(verdict.message)
        return SendResult(record, message, verdict.final, response.retry_after)

    def _build_request(self, delivery: DeliverInput, body: bytes, at: datetime) -> PreparedRequest:
        sink = delivery.sink
        if sink.webhook is not None:
            return webhook_sink.build_request(
                delivery,
                sink.webhook,
                body,
                at=at,
                keyring=self.keyring,
                signer=self.signer,
                user_agent=self.user_agent,
            )
        if sink.bucket is None:
            raise ValueError("A sink is a webhook or a bucket")
        return s3_sink.build_request(delivery, sink.bucket, body, keyring=self.keyring, user_agent=self.user_agent)


def _not_sent(at: datetime, error: CallboardError) -> SendResult:
    record = TryRecord(at=at, error=TryProblem(type=type(error).__name__, message=error.message))
    return SendResult(record, error.message, final=isinstance(error, SealError))


def _no_answer(at: datetime, started: float, problem: TryProblem) -> SendResult:
    latency = timedelta(seconds=time.monotonic() - started)
    return SendResult(TryRecord(at=at, error=problem, latency=latency), problem.message)


def _masked(problem: TryProblem, mask: Callable[[str], str]) -> TryProblem:
    return TryProblem(type=mask(problem.type), message=mask(problem.message))
