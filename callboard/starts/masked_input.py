"""The input of a Run as people see it: as the body of a start, with defaults filled in and secrets masked."""

from __future__ import annotations

from typing import Any

from callboard.schemas.mask import MASK
from callboard.schemas.rest.start_request import as_seconds
from callboard.schemas.workflow.auth import AuthSessionType, RunAuth
from callboard.schemas.workflow.auth_session import CreateInput, LoginSpec, ValidateInput
from callboard.schemas.workflow.run import RunInput


def masked_input(run: RunInput | ValidateInput | CreateInput) -> dict[str, Any]:
    """Return the input without the parameters of an API, which hold no secret and may be stored as an artifact."""
    match run:
        case RunInput():
            return _run_input(run)
        case ValidateInput():
            return {"autoRecreate": run.auto_recreate, **_login_input(run)}
        case CreateInput(spec=LoginSpec(start_url=str() as start_url) as spec):
            return {"id": run.ref.id, "startUrl": start_url, **_proxy_of(spec)}
        case CreateInput():
            return {"id": run.ref.id, "parameters": MASK, **_login_input(run.spec)}


def _retry_input(run: RunInput) -> dict[str, Any]:
    """Return `retry` of a Run; its intervals only if it waits between its Attempts."""
    intervals = run.retry_intervals
    waits = {
        "initialInterval": as_seconds(intervals.initial_interval),
        "backoffCoefficient": intervals.backoff_coefficient,
        "maximumInterval": as_seconds(intervals.maximum_interval),
    }
    return {"maximumAttempts": run.maximum_attempts, **(waits if intervals.initial_interval else {})}


def _run_input(run: RunInput) -> dict[str, Any]:
    view: dict[str, Any] = {
        "api": run.api,
        "retry": _retry_input(run),
        "requestTimeout": as_seconds(run.request_timeout),
        "saveTrace": run.trace.save_trace,
    }
    if run.proxy is not None:
        view["proxy"] = run.proxy.masked_url
    if run.queue_timeout is not None:
        view["queueTimeout"] = as_seconds(run.queue_timeout)
    if run.auth is not None:
        runtime = {"runtimeInput": MASK} if run.auth.ref.type is AuthSessionType.RUNTIME else {}
        auto_recreate = {"autoRecreate": run.auth.auto_recreate}
        lease = {"lease": "exclusive"} if run.auth.is_exclusive else {}
        view["authSession"] = {"id": run.auth.ref.id, **runtime, **auto_recreate, **lease, **_login_input(run.auth)}
    if run.tags:
        view["tags"] = list(run.tags)
    if run.sink is not None:
        view["sink"] = run.sink.masked()
    return view


def _login_input(login: RunAuth | ValidateInput | LoginSpec) -> dict[str, Any]:
    """Return how a login is checked and made."""
    view: dict[str, Any] = {
        "checkAttempts": login.check_attempts,
        "createAttempts": login.create_attempts,
        "requestTimeout": as_seconds(login.request_timeout),
        "saveTrace": login.trace.save_trace,
    }
    return {**view, **_proxy_of(login)}


def _proxy_of(login: RunAuth | ValidateInput | LoginSpec) -> dict[str, Any]:
    return {} if login.proxy is None else {"proxy": login.proxy.masked_url}
