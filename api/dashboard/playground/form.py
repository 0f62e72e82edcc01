"""Conversion of the Playground's form to the body of a start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.dashboard.forms import FormReader

FormFields = Mapping[str, str]

SECRET_FIELDS = ("secretAccessKey",)
"""Names of the fields whose values a page never repeats."""


def start_request_body(form: FormFields) -> dict[str, Any]:
    """Return the body of the start that the form describes.

    Fields that were left empty are left out, so that their defaults apply.

    Raises:
        BadRequest: The text of a field is not JSON, or not a number. The error names all such fields.
    """
    reader = FormReader(form)
    body: dict[str, Any] = {"api": form.get("api", "")}
    body["parameters"] = reader.json("parameters", "parameters") if form.get("parameters", "").strip() else {}
    if (attempts := reader.number("maximumAttempts", "retry.maximumAttempts")) is not None:
        body["retry"] = {"maximumAttempts": attempts}
    reader.set_if_given(body, "requestTimeout", reader.number("requestTimeout", "requestTimeout"))
    reader.set_if_given(body, "queueTimeout", reader.number("queueTimeout", "queueTimeout"))
    reader.set_if_given(body, "proxy", reader.text("proxy"))
    trace = reader.text("saveTrace")
    reader.set_if_given(body, "saveTrace", {"true": True, "false": False}.get(trace or "", trace))
    reader.set_if_given(body, "authSession", _auth_session(reader))
    reader.set_if_given(body, "sink", _sink(reader))
    reader.set_if_given(body, "version", reader.text("version"))
    reader.raise_if_invalid()
    return body


def _auth_session(reader: FormReader) -> dict[str, Any] | None:
    choice = reader.text("auth")
    if choice is None:
        return None
    auth: dict[str, Any] = {}
    if choice == "runtime":
        auth["runtimeInput"] = reader.json("runtimeInput", "authSession.runtimeInput")
    else:
        reader.set_if_given(auth, "id", reader.text("authSessionId"))
    if reader.text("autoRecreate") == "false":
        auth["autoRecreate"] = False
    for name in ("checkAttempts", "createAttempts"):
        reader.set_if_given(auth, name, reader.number(name, f"authSession.{name}"))
    return auth


def _sink(reader: FormReader) -> dict[str, Any] | None:
    kind = reader.text("sink")
    if kind is None:
        return None
    sink: dict[str, Any] = {"type": kind}
    if kind == "webhook":
        sink["url"] = reader.text("url") or ""
        if reader.text("headers") is not None:
            sink["headers"] = reader.json("headers", "sink.headers")
    else:
        for name in ("bucket", "region", "accessKeyId", "secretAccessKey", "prefix", "endpoint"):
            reader.set_if_given(sink, name, reader.text(name))
        if reader.text("forcePathStyle"):
            sink["forcePathStyle"] = True
    if reader.text("skipOnFail"):
        sink["skipOnFail"] = True
    return sink
