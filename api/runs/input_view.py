"""View of a Run's input that may be shown: with the field names of a start, its defaults, and masked secrets."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from schemas.mask import MASK
from schemas.workflow.auth import AuthSessionType, RunAuth
from schemas.workflow.auth_session import CreateInput, ValidateInput
from schemas.workflow.proxy import SealedProxy
from schemas.workflow.run import RunInput


def masked_input(run: RunInput | ValidateInput | CreateInput) -> dict[str, Any]:
    """Return the input without the parameters of an API, which hold no secret and may be stored as an artifact."""
    match run:
        case RunInput():
            return _run_input(run)
        case ValidateInput():
            return {
                "autoRecreate": run.auto_recreate,
                "checkAttempts": run.check_attempts,
                "createAttempts": run.create_attempts,
                "requestTimeout": as_seconds(run.request_timeout),
                "saveTrace": run.trace.save_trace,
                **_proxy_input(run.proxy),
            }
        case CreateInput():
            spec = run.spec
            return {
                "id": run.ref.id,
                "parameters": MASK,
                "createAttempts": spec.create_attempts,
                "checkAttempts": spec.check_attempts,
                "requestTimeout": as_seconds(spec.request_timeout),
                "saveTrace": spec.trace.save_trace,
                **_proxy_input(spec.proxy),
            }


def as_seconds(duration: timedelta) -> int | float:
    """Return a duration in seconds as a request has it: as an int if it is a whole number."""
    total = duration.total_seconds()
    return int(total) if total.is_integer() else total


def _run_input(run: RunInput) -> dict[str, Any]:
    view: dict[str, Any] = {
        "api": run.api,
        "retry": {"maximumAttempts": run.maximum_attempts},
        "requestTimeout": as_seconds(run.request_timeout),
        "saveTrace": run.trace.save_trace,
        **_proxy_input(run.proxy),
    }
    if run.queue_timeout is not None:
        view["queueTimeout"] = as_seconds(run.queue_timeout)
    if run.auth is not None:
        view["authSession"] = _auth_input(run.auth)
    if run.sink is not None:
        view["sink"] = run.sink.masked()
    return view


def _auth_input(auth: RunAuth) -> dict[str, Any]:
    runtime = {"runtimeInput": MASK} if auth.ref.type is AuthSessionType.RUNTIME else {}
    return {
        "id": auth.ref.id,
        **runtime,
        "autoRecreate": auth.auto_recreate,
        "checkAttempts": auth.check_attempts,
        "createAttempts": auth.create_attempts,
        "requestTimeout": as_seconds(auth.request_timeout),
        "saveTrace": auth.trace.save_trace,
        **_proxy_input(auth.proxy),
    }


def _proxy_input(proxy: SealedProxy | None) -> dict[str, str]:
    if proxy is None:
        return {}
    scheme, _, host = proxy.server.partition("://")
    return {"proxy": proxy.server if proxy.username is None else f"{scheme}://{MASK}@{host}"}
