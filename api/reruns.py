"""A Run again: a new one with the same inputs, of the version that is deployed now.

What is secret in them is sealed for the Run that carries it, so it is opened, and sealed anew for the new one. It lives
in this process meanwhile, as it did when it came with the start.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from api.inputs import seconds
from api.jsontext import text_of
from api.parts import Parts
from api.reading import read_as
from api.sealing import forget, is_undone
from api.service import begin_run, identify
from contract.errors import BadRequest, CallboardError, Conflict
from contract.flow.auth import AuthOrder, AuthSessionType
from contract.flow.proxy import SealedProxy
from contract.flow.run import RunInput
from contract.flow.sink import SinkOrder
from contract.rest.runs import RerunResponse
from contract.rest.start import StartRequest
from projects.manifest import Manifest
from security import bindings
from storage import keys


async def rerun(parts: Parts, manifest: Manifest, run_id: str, idempotency_key: str | None) -> RerunResponse:
    """Start a Run with the inputs of `run_id`, or find the one that the Idempotency-Key stands for.

    Raises:
        BadRequest: It is no Run of an API, or what it was started with may not be started (any more).
        NotFound: There is no such Run; or its API, or its AuthSession, is not there any more.
        Conflict: It had an AuthSession of its own, which is gone; or the Idempotency-Key was used for another Run.
        SealError, ConfigurationError: What was sealed cannot be opened.
        StoreError, Unavailable: Nothing is known to have been started; repeating helps.
    """
    record = await parts.records.record(parts.settings.workspace, manifest.project, run_id)
    if not isinstance(record.order, RunInput):
        raise BadRequest(
            f"Run {run_id} makes or checks a login (type {record.line.type}), and only Runs of APIs can be started"
            " again. Update or validate its AuthSession instead."
        )
    request = read_as(StartRequest, await _said(parts, run_id, record.order))
    # By which Run is meant: nothing else was said.
    who = await identify(parts, manifest.project, f"again: {run_id}".encode("ascii"), idempotency_key)
    note = keys.rerun(manifest.project, run_id, who.run_id)
    await parts.store.put(note, json.dumps({"at": datetime.now(UTC).isoformat()}).encode("ascii"))
    try:
        await begin_run(parts, manifest, request, who, rerun_of=run_id)
    except CallboardError as error:
        # With an Idempotency-Key, the Run may be there: by another request, or this one, heard before.
        if is_undone(error) and not who.fingerprint:
            await forget(parts, note)
        raise
    return RerunResponse(run_id=who.run_id, rerun_of=run_id)


async def _said(parts: Parts, run_id: str, order: RunInput) -> dict[str, Any]:
    """The body of a start that orders the same."""
    opener = _Opener(parts, order.workspace, order.project, run_id)
    said: dict[str, Any] = {
        "api": order.api,
        "parameters": json.loads(await text_of(order.parameters, "parameters", run_id, parts.store)),
        "retry": {"maximumAttempts": order.maximum_attempts},
        "requestTimeout": seconds(order.request_timeout),
        "saveTrace": order.trace.save_trace,
        "proxy": opener.proxy(order.proxy),
    }
    if order.auth is not None:
        said["authSession"] = _auth(opener, run_id, order.auth)
    if order.sink is not None:
        said["sink"] = opener.sink(order.sink)
    return said


def _auth(opener: _Opener, run_id: str, auth: AuthOrder) -> dict[str, Any]:
    if auth.ref.type is AuthSessionType.RUNTIME:
        raise Conflict(
            f"Run {run_id} had an AuthSession of its own, and its runtimeInput is not kept. Start a new Run with it."
        )
    return {
        "id": auth.ref.id,
        "autoRecreate": auth.auto_recreate,
        "checkAttempts": auth.check_attempts,
        "createAttempts": auth.create_attempts,
        "requestTimeout": seconds(auth.request_timeout),
        "saveTrace": auth.trace.save_trace,
        "proxy": opener.proxy(auth.proxy),
    }


class _Opener:
    """Opens what was sealed for a Run."""

    def __init__(self, parts: Parts, workspace: str, project: str, run_id: str) -> None:
        self._ring = parts.ring
        self._run_id = run_id
        self._bound_to = bindings.run(workspace, project, run_id)

    def proxy(self, proxy: SealedProxy | None) -> str | None:
        """Its URL; None also for one that is the AuthSession's own, which the new Run finds there."""
        if proxy is None or proxy.owner not in (None, self._run_id):
            return None
        scheme, _, host = proxy.server.partition("://")
        if proxy.username is None:
            return proxy.server
        user = [quote(self._open(part), safe="") for part in (proxy.username, proxy.password) if part is not None]
        return f"{scheme}://{':'.join(user)}@{host}"

    def sink(self, sink: SinkOrder) -> dict[str, Any]:
        """As a client writes it."""
        shared = {"skipOnFail": sink.skip_on_fail, "apisToSend": sink.apis_to_send and list(sink.apis_to_send)}
        if sink.webhook is not None:
            headers = {name: self._open(value) for name, value in sink.webhook.headers.items()}
            return {"type": "webhook", "url": self._open(sink.webhook.sealed_url), "headers": headers, **shared}
        if sink.bucket is None:
            raise ValueError("A sink is a webhook or a bucket")
        bucket = sink.bucket
        return {
            "type": "s3",
            "bucket": bucket.bucket,
            "region": bucket.region,
            "prefix": bucket.prefix,
            "endpoint": bucket.endpoint,
            "forcePathStyle": bucket.force_path_style,
            "accessKeyId": self._open(bucket.access_key_id),
            "secretAccessKey": self._open(bucket.secret_access_key),
            **shared,
        }

    def _open(self, token: str) -> str:
        return self._ring.open(token, bound_to=self._bound_to)
