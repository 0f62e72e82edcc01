"""The form of a Job: from a Job to its fields, and from these to the body of the call that stores it.

Secrets of a Job are not shown, and stay as they are where the form still shows their masks, or nothing. Only who leaves
the address of a receiver as it is keeps the secrets that go there: nobody can have them sent elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count, takewhile
from typing import Any, cast

from api.dashboard.forms import FormReader, read_sink
from api.jobs.definition import shown_definition
from api.jobs.form_schedule import read_schedule, schedule_values
from callboard.schemas.mask import MASK
from callboard.schemas.workflow.job import JobDefinition
from callboard.security import seal_context
from callboard.security.keyring import KeyRing
from callboard.security.sealed_proxies import open_proxy
from callboard.security.sealed_sinks import open_sink

_BUCKET_SECRETS = ("accessKeyId", "secretAccessKey")
_ADDRESS = ("type", "url", "bucket", "region", "endpoint")
"""The fields of a receiver that say where secrets go."""
_CONFIGURATION = ("maxConcurrentRequests", "requestTimeout", "maxRuns")
_RETRY = ("maximumAttempts", "initialInterval", "backoffCoefficient", "maximumInterval")
_TRACES = {"true": True, "false": False}


@dataclass(frozen=True)
class KnownJob:
    """A Job that is edited."""

    values: dict[str, str]
    """What its form shows at first, but for the payload."""
    masked: dict[str, Any]
    """The Job without its payload, as a request has it, with masks in the place of secrets."""
    opened: dict[str, Any]
    """The same with the secrets."""


def know_job(definition: JobDefinition, ring: KeyRing) -> KnownJob:
    """Return a Job as its form needs it.

    Raises:
        SealError: A secret of it cannot be opened.
        ConfigurationError: There is no key to open it with.
    """
    proxy, sink = definition.proxy, definition.sink
    masked = {
        **shown_definition(definition),
        "proxy": proxy and proxy.masked_url,
        "sink": sink and sink.masked(),
        "schedule": definition.schedule,
        "tags": list(definition.tags),
    }
    bound_to = seal_context.job(definition.workspace, definition.project, definition.job_id)
    owner = {"workspace": definition.workspace, "project": definition.project, "carrier": ""}
    opened = masked | {
        "proxy": proxy and open_proxy(proxy, ring, **owner),
        "sink": sink and open_sink(sink, ring, bound_to),
        "notifications": [
            {
                "type": "webhook",
                "url": ring.open(webhook.sealed_url, bound_to=bound_to),
                "headers": {name: ring.open(value, bound_to=bound_to) for name, value in webhook.headers.items()},
            }
            for webhook in definition.notifications
        ],
    }
    return KnownJob(_values(masked), masked, opened)


def read_head(values: Mapping[str, str], known: KnownJob | None) -> dict[str, Any]:
    """Return the Job that the form describes, but for its payload: the body of the call that stores it.

    Of a Job that is edited, each part whose fields say what they have said at first is as it was.

    Raises:
        BadRequest: The text of a field is not JSON. The error names all such fields.
    """
    reader = FormReader(values)
    body: dict[str, Any] = {name: read(reader) for name, read in _PARTS.items()}
    reader.raise_if_invalid()
    if known is not None:
        before = FormReader(known.values)
        for name, read in _PARTS.items():
            masked, opened = known.masked[name], known.opened[name]
            body[name] = opened if body[name] == read(before) else _with_secrets(body[name], masked, opened)
    body["notifications"] = [webhook for webhook in body["notifications"] if webhook is not None]
    if (job_id := reader.text("id")) is not None:
        body["id"] = job_id
    return {name: value for name, value in body.items() if value is not None}


def notification_rows(values: Mapping[str, str]) -> int:
    """Return how many rows for webhooks the form shows: the last one is empty."""
    return 1 + len(_notifications(FormReader(values)))


def _with_secrets(given: Any, masked: Any, opened: Any) -> Any:
    """Return what a form says, with the secrets in the place of their masks, as long as they go where they went."""
    if given == masked:
        return opened
    if isinstance(given, list) and isinstance(masked, list):
        several = zip(cast("list[Any]", given), cast("list[Any]", masked), cast("list[Any]", opened), strict=False)
        return [_with_secrets(*each) for each in several] + cast("list[Any]", given)[len(cast("list[Any]", masked)) :]
    if not isinstance(given, dict) or not isinstance(masked, dict):
        return cast("Any", given)
    fields, before = cast("dict[str, Any]", given), cast("dict[str, Any]", masked)
    fields = {name: MASK for name in _BUCKET_SECRETS if name in before} | fields
    if any(fields.get(name) != before.get(name) for name in _ADDRESS):
        return fields
    return {name: _with_secrets(value, before.get(name), opened.get(name)) for name, value in fields.items()}


def _configuration(reader: FormReader) -> dict[str, Any]:
    configuration: dict[str, Any] = {}
    for name in _CONFIGURATION:
        reader.set_if_given(configuration, name, _amount(reader.text(name)))
    retry: dict[str, Any] = {}
    for name in _RETRY:
        reader.set_if_given(retry, name, _amount(reader.text(name)))
    reader.set_if_given(configuration, "retry", retry or None)
    trace = reader.text("saveTrace")
    reader.set_if_given(configuration, "saveTrace", _TRACES.get(trace or "", trace))
    return configuration


def _amount(text: str | None) -> int | float | str | None:
    """Return the number in a field; any other text as it is: a duration, or what the model of the body refuses."""
    try:
        return text if text is None else int(text)
    except ValueError:
        pass
    try:
        return float(cast("str", text))
    except ValueError:
        return text


def _auth_session(reader: FormReader) -> dict[str, Any] | None:
    auth: dict[str, Any] = {}
    reader.set_if_given(auth, "id", reader.text("authSessionId"))
    reader.set_if_given(auth, "lease", reader.text("lease"))
    for name in ("checkAttempts", "createAttempts"):
        reader.set_if_given(auth, name, _amount(reader.text(name)))
    if reader.text("authSaveTrace"):
        auth["saveTrace"] = True
    return auth if "id" in auth else None


def _sink(reader: FormReader) -> dict[str, Any] | None:
    sink = read_sink(reader)
    if sink is not None:
        lines = (reader.text("apisToSend") or "").split("\n")
        reader.set_if_given(sink, "apisToSend", [line.strip() for line in lines if line.strip()] or None)
    return sink


def _notifications(reader: FormReader) -> list[dict[str, Any] | None]:
    """Return the webhook in each row, None for a row without one; the empty rows at the end are left out."""
    rows = takewhile(lambda row: reader.has(f"notificationUrl-{row}"), count())
    webhooks: list[dict[str, Any] | None] = []
    for row in rows:
        url, webhook = reader.text(f"notificationUrl-{row}"), None
        if url is not None:
            webhook = {"type": "webhook", "url": url}
            if reader.text(f"notificationHeaders-{row}") is not None:
                webhook["headers"] = reader.json(f"notificationHeaders-{row}", f"notifications[{row}].headers")
        webhooks.append(webhook)
    while webhooks and webhooks[-1] is None:
        webhooks.pop()
    return webhooks


_PARTS: dict[str, Callable[[FormReader], Any]] = {
    "configuration": _configuration,
    "schedule": read_schedule,
    "sink": _sink,
    "proxy": lambda reader: reader.text("proxy"),
    "auth_session": _auth_session,
    "notifications": _notifications,
    "tags": lambda reader: (reader.text("tags") or "").replace(",", " ").split() or None,
}
"""The fields of a Job beside its id and its payload, and what reads each of them from the form."""


def _values(job: Mapping[str, Any]) -> dict[str, str]:
    configuration: dict[str, Any] = job["configuration"]
    auth: dict[str, Any] = job["auth_session"] or {}
    retry: dict[str, Any] = configuration.get("retry") or {}
    trace = configuration.get("saveTrace")
    values = {
        **{name: _text(configuration.get(name)) for name in _CONFIGURATION},
        **{name: _text(retry.get(name)) for name in _RETRY},
        "saveTrace": trace if isinstance(trace, str) else _text(trace),
        "proxy": job["proxy"] or "",
        "tags": " ".join(job["tags"]),
        "authSessionId": auth.get("id") or "",
        "lease": auth.get("lease") or "",
        "checkAttempts": _text(auth.get("checkAttempts")),
        "createAttempts": _text(auth.get("createAttempts")),
        "authSaveTrace": "true" if auth.get("saveTrace") else "",
        **schedule_values(job["schedule"]),
        **_sink_values(job["sink"]),
    }
    for row, webhook in enumerate(job["notifications"]):
        values |= {f"notificationUrl-{row}": webhook["url"], f"notificationHeaders-{row}": _headers(webhook)}
    return values


def _sink_values(sink: Mapping[str, Any] | None) -> dict[str, str]:
    if sink is None:
        return {}
    values = {
        "sink": sink["type"],
        "skipOnFail": "true" if sink["skipOnFail"] else "",
        "apisToSend": "\n".join(sink["apisToSend"] or ()),
    }
    if sink["type"] == "webhook":
        return {**values, "url": sink["url"], "headers": _headers(sink)}
    names = ("bucket", "region", "prefix", "endpoint")
    shown = {name: sink[name] or "" for name in names}
    return {**values, **shown, "forcePathStyle": "true" if sink["forcePathStyle"] else ""}


def _headers(webhook: Mapping[str, Any]) -> str:
    return json.dumps(webhook["headers"], indent=2) if webhook["headers"] else ""


def _text(value: Any) -> str:
    return "" if value is None else json.dumps(value)
