"""View of a Run's input that may be shown: with the field names of a start, its defaults, and masked secrets."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from schemas.workflow.auth import AuthSessionType, RunAuth
from schemas.workflow.auth_session import CreateInput, ValidateInput
from schemas.workflow.proxy import SealedProxy
from schemas.workflow.run import RunInput
from security.masking import MASK


def shown_input(order: RunInput | ValidateInput | CreateInput) -> dict[str, Any]:
    """Return the input without the parameters of an API, which hold no secret and may be stored as an artifact."""
    match order:
        case RunInput():
            return _start(order)
        case ValidateInput():
            return {
                "autoRecreate": order.auto_recreate,
                "checkAttempts": order.check_attempts,
                "createAttempts": order.create_attempts,
                "requestTimeout": seconds(order.request_timeout),
                "saveTrace": order.trace.save_trace,
                **_proxy(order.proxy),
            }
        case CreateInput():
            made = order.order
            return {
                "id": order.ref.id,
                "parameters": MASK,
                "createAttempts": made.create_attempts,
                "checkAttempts": made.check_attempts,
                "requestTimeout": seconds(made.request_timeout),
                "saveTrace": made.trace.save_trace,
                **_proxy(made.proxy),
            }


def seconds(duration: timedelta) -> int | float:
    """Return a duration in seconds as a request has it: as an int if it is a whole number."""
    total = duration.total_seconds()
    return int(total) if total.is_integer() else total


def _start(order: RunInput) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "api": order.api,
        "retry": {"maximumAttempts": order.maximum_attempts},
        "requestTimeout": seconds(order.request_timeout),
        "saveTrace": order.trace.save_trace,
        **_proxy(order.proxy),
    }
    if order.auth is not None:
        shown["authSession"] = _auth(order.auth)
    if order.sink is not None:
        shown["sink"] = order.sink.shown()
    return shown


def _auth(auth: RunAuth) -> dict[str, Any]:
    runtime = {"runtimeInput": MASK} if auth.ref.type is AuthSessionType.RUNTIME else {}
    return {
        "id": auth.ref.id,
        **runtime,
        "autoRecreate": auth.auto_recreate,
        "checkAttempts": auth.check_attempts,
        "createAttempts": auth.create_attempts,
        "requestTimeout": seconds(auth.request_timeout),
        "saveTrace": auth.trace.save_trace,
        **_proxy(auth.proxy),
    }


def _proxy(proxy: SealedProxy | None) -> dict[str, str]:
    if proxy is None:
        return {}
    scheme, _, host = proxy.server.partition("://")
    return {"proxy": proxy.server if proxy.username is None else f"{scheme}://{MASK}@{host}"}
