"""Conversion of the Playground's form to the body of a start, and of that body to the same call as code."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from api.dashboard.form_reader import FormReader
from api.dependencies import Services
from security.masking import MASK

Given = Mapping[str, str]

SECRETS = ("secretAccessKey",)
"""Names of the fields whose values a page never repeats."""


def body_of(form: Given) -> dict[str, Any]:
    """Return the body of the start that the form stands for.

    Fields that were left empty are left out, so that their defaults apply.

    Raises:
        BadRequest: Some text is not the JSON, or the number, that its field takes. All such fields are named.
    """
    reader = FormReader(form)
    body: dict[str, Any] = {"api": form.get("api", "")}
    body["parameters"] = reader.json("parameters", "parameters") if form.get("parameters", "").strip() else {}
    if (attempts := reader.number("maximumAttempts", "retry.maximumAttempts")) is not None:
        body["retry"] = {"maximumAttempts": attempts}
    reader.put(body, "requestTimeout", reader.number("requestTimeout", "requestTimeout"))
    reader.put(body, "proxy", reader.text("proxy"))
    trace = reader.text("saveTrace")
    reader.put(body, "saveTrace", {"true": True, "false": False}.get(trace or "", trace))
    reader.put(body, "authSession", _auth(reader))
    reader.put(body, "sink", _sink(reader))
    reader.finish()
    return body


def _auth(reader: FormReader) -> dict[str, Any] | None:
    how = reader.text("auth")
    if how is None:
        return None
    auth: dict[str, Any] = {}
    if how == "runtime":
        auth["runtimeInput"] = reader.json("runtimeInput", "authSession.runtimeInput")
    else:
        reader.put(auth, "id", reader.text("authSessionId"))
    if reader.text("autoRecreate") == "false":
        auth["autoRecreate"] = False
    for name in ("checkAttempts", "createAttempts"):
        reader.put(auth, name, reader.number(name, f"authSession.{name}"))
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
            reader.put(sink, name, reader.text(name))
        if reader.text("forcePathStyle"):
            sink["forcePathStyle"] = True
    if reader.text("skipOnFail"):
        sink["skipOnFail"] = True
    return sink


def calls_of(parts: Services, origin: str, project: str, body: dict[str, Any]) -> dict[str, str]:
    """Return the same call as code, by language.

    The code takes the API key from the environment, and secrets are masked: whoever calls has to fill them in.
    """
    shown = _without_secrets(body)
    workspace = parts.settings.workspace
    text = json.dumps(shown, indent=2, ensure_ascii=False)
    url = f"{origin}/api/v1/workspace/{workspace}/projects/{project}/run/start"
    curl = (
        f"curl -X POST {shlex.quote(url)} \\\n"
        '  -H "x-api-key: $CALLBOARD_API_KEY" -H "content-type: application/json" \\\n'
        f"  -d {shlex.quote(text)}"
    )
    python = (
        "import json\nimport os\n\nfrom intuned_client import IntunedClient\n\n"
        "client = IntunedClient(\n"
        '    api_key=os.environ["CALLBOARD_API_KEY"],\n'
        f"    workspace_id={json.dumps(workspace)},\n"
        f"    base_url={json.dumps(f'{origin}/api/v1/workspace')},\n"
        ")\n"
        f"run = client.projects.runs.start(\n    project_name={json.dumps(project)},\n"
        f"    body=json.loads({json.dumps(text)}),\n)\nprint(run.run_id)"
    )
    cli = (
        f"callboard runs start --project {shlex.quote(project)} --url {shlex.quote(origin)} --wait \\\n"
        f"  {shlex.quote(text)}"
    )
    return {"curl": curl, "Python": python, "Command line": cli}


def _without_secrets(body: dict[str, Any]) -> dict[str, Any]:
    shown = dict(body)
    for field, names in (("sink", SECRETS), ("authSession", ("runtimeInput",))):
        if field in shown:
            shown[field] = {name: MASK if name in names else value for name, value in shown[field].items()}
    if "headers" in shown.get("sink", {}) and isinstance(shown["sink"]["headers"], dict):
        shown["sink"]["headers"] = dict.fromkeys(shown["sink"]["headers"], MASK)
    return shown
