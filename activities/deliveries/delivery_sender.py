"""Make one try of a Delivery and report its result, which holds no secret."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx

from activities.deliveries import s3_sink, webhook_sink
from activities.deliveries.http_sender import ANSWER_KEPT, PreparedRequest, SendError, send
from activities.store_retry import retry_store
from schemas.errors import CallboardError, SealError, StoreError
from schemas.workflow.delivery import DeliverInput, TryInput, TryProblem, TryRecord
from security.keyring import KeyRing
from security.masking import Masker
from security.signing import Signer
from storage.store import Store

_STORE_PATIENCE = timedelta(seconds=20)
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


class DeliverySender:
    """Sends Deliveries, one try at a time."""

    def __init__(
        self, *, store: Store, transport: httpx.AsyncBaseTransport, keyring: KeyRing, signer: Signer, agent: str
    ) -> None:
        """Set up without sending anything yet.

        Args:
            store: The artifact store, which holds what is sent.
            transport: A guarded transport. Whoever created it closes it.
            keyring: Opens the sealed secrets of sinks.
            signer: Signs webhooks.
            agent: `user-agent` of the requests.
        """
        self._store = store
        self._transport = transport
        self._keyring = keyring
        self._signer = signer
        self._agent = agent

    async def once(self, order: TryInput, at: datetime) -> SendResult:
        """Send the stored body once. A cancel ends the try, and is returned as its result."""
        try:
            body = await self._body(order.body_key)
        except CallboardError as error:
            return _impossible(at, error)
        return await self.send(order.order, body, at)

    async def send(self, order: DeliverInput, body: bytes, at: datetime) -> SendResult:
        """Send this body once. A cancel ends the try, and is returned as its result."""
        try:
            out = self._outgoing(order, body, at)
        except CallboardError as error:
            return _impossible(at, error)
        masker = Masker(out.secrets)
        began = time.monotonic()
        try:
            answer = await send(self._transport, out.request, order.sink.schedule.timeout)
        except SendError as error:
            return _no_answer(at, began, _masked(error.problem, masker))
        except asyncio.CancelledError:
            stopped = TryProblem(type="WorkerStopped", message=_STOPPED)
            return _no_answer(at, began, stopped)
        judged = out.judge(answer)
        record = TryRecord(
            at=at,
            status_code=answer.status,
            error=None if judged.problem is None else _masked(judged.problem, masker),
            latency=answer.latency,
            answer=masker.text(answer.beginning.decode("utf-8", "replace"))[:ANSWER_KEPT],
        )
        message = None if judged.message is None else masker.text(judged.message)
        return SendResult(record, message, judged.final, answer.retry_after)

    async def _body(self, key: str) -> bytes:
        body = await retry_store(_STORE_PATIENCE, lambda: self._store.get(key))
        if body is None:
            raise StoreError(f"{key} is not in the artifact store any more.")
        return body

    def _outgoing(self, order: DeliverInput, body: bytes, at: datetime) -> PreparedRequest:
        sink = order.sink
        if sink.webhook is not None:
            return webhook_sink.outgoing(
                order, sink.webhook, body, at=at, ring=self._keyring, signer=self._signer, agent=self._agent
            )
        if sink.bucket is None:
            raise ValueError("A sink is a webhook or a bucket")
        return s3_sink.outgoing(order, sink.bucket, body, ring=self._keyring, agent=self._agent)


def _impossible(at: datetime, error: CallboardError) -> SendResult:
    record = TryRecord(at=at, error=TryProblem(type=type(error).__name__, message=error.message))
    return SendResult(record, error.message, final=isinstance(error, SealError))


def _no_answer(at: datetime, began: float, problem: TryProblem) -> SendResult:
    latency = timedelta(seconds=time.monotonic() - began)
    return SendResult(TryRecord(at=at, error=problem, latency=latency), problem.message)


def _masked(problem: TryProblem, masker: Masker) -> TryProblem:
    return TryProblem(type=masker.text(problem.type), message=masker.text(problem.message))
