"""Prepare requests to sinks of kind `webhook`: the result is POSTed, signed according to Standard Webhooks."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

import httpx

from activities.deliveries.http_sender import PreparedRequest, ResponseVerdict, SinkResponse
from callboard.schemas.workflow.delivery import DeliverInput
from callboard.schemas.workflow.sink import SealedWebhook
from callboard.security import seal_context
from callboard.security.keyring import KeyRing
from callboard.security.signing import WebhookSigner
from callboard.telemetry.tracing import current_traceparent


def build_request(
    delivery: DeliverInput,
    sink: SealedWebhook,
    body: bytes,
    *,
    at: datetime,
    keyring: KeyRing,
    signer: WebhookSigner,
    user_agent: str,
) -> PreparedRequest:
    """Return the request for one try; its time, signature and `traceparent` differ from those of another try.

    Raises:
        ConfigurationError: There is no secret to sign with, or no key to open with.
        SealError: What is sealed was changed.
    """
    bound_to = seal_context.run(delivery.workspace, delivery.project, delivery.run_id)
    url = keyring.open(sink.sealed_url, bound_to=bound_to)
    own = {name.lower(): keyring.open(sealed, bound_to=bound_to) for name, sealed in sink.headers.items()}
    if sink.secret is not None:
        signer = WebhookSigner([keyring.open(sink.secret, bound_to=bound_to)])
    traceparent = current_traceparent()
    headers = {
        "accept": "*/*",
        "accept-encoding": "identity",
        "connection": "close",
        "user-agent": user_agent,
        # The receiver can take part in the OpenTelemetry trace of the Run. A header of the sink takes precedence.
        **({} if traceparent is None else {"traceparent": traceparent}),
        **own,
        "content-type": "application/json",
        # The message id is the same for every try, so that receivers recognize what they have received already.
        **signer.sign(delivery.message_id, at, body),
    }
    request = httpx.Request("POST", url, headers=headers, content=body)
    query = urlsplit(url).query
    secrets = {*own.values(), query, *(value for _, value in parse_qsl(query))}
    return PreparedRequest(request, classify_response, frozenset(secrets - {""}))


def classify_response(response: SinkResponse) -> ResponseVerdict:
    """Classify the answer: 200 to 299 means delivered (docs/contract.md, section 11.4)."""
    status = response.status
    if 200 <= status < 300:
        return ResponseVerdict()
    if status == HTTPStatus.GONE:
        return ResponseVerdict("The receiver answered 410: it wants nothing any more.", final=True)
    if 300 <= status < 400:
        return ResponseVerdict(f"The receiver answered {status}, a redirect, and redirects are not followed.")
    return ResponseVerdict(f"The receiver answered {status}.")
