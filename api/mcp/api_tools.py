"""Tools that start Runs: each API of a project is one (docs/contract.md, section 23)."""

from __future__ import annotations

import asyncio
import copy
import json
from dataclasses import dataclass
from typing import Any

from mcp_types import CallToolResult, Tool, ToolAnnotations

from api.dependencies import Services
from api.mcp.answers import LARGEST, error_answer, json_answer, size_as_sent
from api.mcp.names import split_plain_name, tool_name
from api.mcp.rest import RefusedError, ToolCall
from api.projects.calls import describe_api
from callboard.projects.manifest import Manifest
from callboard.projects.parameter_check import DIALECT, wrong_parameters
from callboard.schemas.errors import StoreError
from callboard.schemas.rest.access import Scope
from callboard.schemas.rest.field_errors import field_error, path_of
from callboard.schemas.rest.projects import ApiBody
from callboard.schemas.workflow.base import clip
from callboard.schemas.workflow.handoff import HandoffKind
from callboard.security.apikeys import Caller

AUTH_SESSION = "_authSession"
"""The argument of tools of projects that log in: the id of an AuthSession."""

_PATIENCE = 50.0
"""Seconds that a call waits for a result. Many clients give a call up after a minute."""
_TOLD_EVERY = 10.0
"""Seconds between two notices of progress."""
_GOES_ON = "It goes on if this call is canceled; cancel_run ends it."
_UNFINISHED = ("pending", "started")
_LONGEST_QUOTED = 2_000
_CHOICES = ("anyOf", "oneOf", "allOf", "$ref", "not", "if")
"""Keywords that models do not take at the root of a schema."""

_STARTED: dict[str, Any] = {
    "runId": {"type": "string"},
    "status": {"type": "string", "description": "pending, started or completed; absent for keys that may not read."},
    "next": {"type": "string", "description": "What to call next, where the result is not here."},
}
"""Members of an answer beside `result`."""


@dataclass(frozen=True)
class ApiTool:
    """A tool, and which API it starts."""

    name: str
    project: str
    api: str
    manifest: Manifest | None
    """None: the key may not start it, or there is none, which its route then says."""


async def list_api_tools(services: Services, caller: Caller) -> list[ApiTool]:
    """Return the tools of all APIs that the key may start, sorted by project and API. Raises StoreError."""
    if not caller.has(Scope.RUNS_START):
        return []
    return [
        ApiTool(tool_name(manifest.project, api), manifest.project, api, manifest)
        for manifest in await services.catalog.list_current()
        if caller.sees(manifest.project) and manifest.settings.api_access.enabled
        for api in manifest.apis
    ]


async def find_api_tool(services: Services, caller: Caller, name: str) -> ApiTool | None:
    """Return the tool of this name; None if no API can have it. Raises StoreError.

    One that the key does not see gets the answer of the route that starts Runs, whether there is such an API or not.
    """
    for tool in await list_api_tools(services, caller):
        if tool.name == name:
            return tool
    split = split_plain_name(name)
    return None if split is None else ApiTool(name, *split, manifest=None)


async def describe(services: Services, tool: ApiTool) -> Tool:
    """Return the tool as the protocol has it. Raises StoreError."""
    known = await _known(services, tool)
    said = "" if known is None or known.docstring is None else f" Its author says:\n{_quoted(known.docstring)}"
    return Tool(
        name=tool.name,
        title=f"{tool.project}: {tool.api}",
        description=f"Start the API {tool.api!r} of the project {tool.project!r}, which automates a browser, and wait "
        f"up to {_PATIENCE:g} seconds for its result. Canceling this call does not cancel the Run.{said}",
        input_schema=input_schema(known),
        output_schema=output_schema(known),
        annotations=ToolAnnotations(read_only_hint=False, open_world_hint=True),
    )


async def _known(services: Services, tool: ApiTool) -> ApiBody | None:
    return None if tool.manifest is None else await describe_api(services, tool.manifest, tool.api)


def _quoted(text: str) -> str:
    """Return a text, which is a stranger's, as lines that nobody takes for ours, and that show all they say."""
    plain = "".join(each for each in text if each.isprintable() or each == "\n")
    return "\n".join(f"> {line}" for line in clip(plain, _LONGEST_QUOTED).splitlines())


def input_schema(known: ApiBody | None) -> dict[str, Any]:
    """Return the schema of a tool's arguments: the API's parameters, and the login where it needs one."""
    own = None if known is None else known.input_schema
    if own is None:
        schema: dict[str, Any] = {"type": "object", "properties": {}}
    elif any(keyword in own for keyword in _CHOICES):
        text = json.dumps({name: part for name, part in own.items() if name != "$schema"})
        schema = {"type": "object", "properties": {}, "description": f"An object that fits this JSON Schema: {text}"}
    else:
        schema = {"type": "object", "properties": {}, **copy.deepcopy(own)}
    if known is not None and known.needs_auth_session:
        schema["properties"][AUTH_SESSION] = {"type": "string", "description": "The id of an AuthSession: the login."}
        schema["required"] = [*schema.get("required", ()), AUTH_SESSION]
    return schema


def output_schema(known: ApiBody | None) -> dict[str, Any] | None:
    """Return the schema of a tool's answer, whose member `result` is what the API returns; None if nothing is said."""
    own = None if known is None else known.result_schema
    if own is None:
        return None
    result = {name: part for name, part in own.items() if name not in ("$schema", "$defs")}
    return {
        "$schema": DIALECT,
        "type": "object",
        "properties": {**_STARTED, "result": result},
        "required": ["runId"],
        **({"$defs": own["$defs"]} if "$defs" in own else {}),
    }


async def call_api_tool(call: ToolCall, tool: ApiTool) -> CallToolResult:
    """Start a Run, wait for it, and return its result, or what to call next.

    Raises:
        RefusedError, BadRequest: No Run was started.
    """
    parameters = dict(call.arguments)
    body: dict[str, Any] = {"api": tool.api, "parameters": parameters}
    if tool.manifest is not None and tool.manifest.settings.auth_sessions.enabled:
        if AUTH_SESSION not in parameters:  # the route would name the field of its own body
            raise field_error(AUTH_SESSION, "the id of an AuthSession, as the project logs in")
        body["authSession"] = {"id": parameters.pop(AUTH_SESSION)}
    run_id: str = (await call.rest.post(tool.project, "run", "start", body=body)).json()["runId"]
    if not call.caller.has(Scope.RUNS_READ):
        return json_answer({"runId": run_id})
    await call.tell_progress(0, _PATIENCE, f"Run {run_id} was started. {_GOES_ON}")
    try:
        return await _answer(call, tool, await wait_for_end(call, tool.project, run_id, _PATIENCE))
    except (RefusedError, StoreError) as error:
        return error_answer(f"Run {run_id} was started, but what becomes of it cannot be read. {error}")


async def wait_for_end(call: ToolCall, project: str, run_id: str, patience: float) -> dict[str, Any]:
    """Return the answer of `result`, once the Run has ended or asks a person, or after these seconds; tell progress.

    Raises:
        RefusedError: It cannot be read.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    while True:
        waited = loop.time() - began
        wait = max(0.0, min(_TOLD_EVERY, patience - waited))
        response = await call.rest.get(project, "run", run_id, "result", query={"wait": f"{wait:.3f}"})
        answer: dict[str, Any] = response.json()
        is_over = answer["status"] not in _UNFINISHED or "handoff" in answer
        if is_over or call.services.shutting_down.is_set() or loop.time() - began >= patience:
            return answer
        await call.tell_progress(loop.time() - began, patience, f"Run {run_id} is {answer['status']}. {_GOES_ON}")


async def _answer(call: ToolCall, tool: ApiTool, ended: dict[str, Any]) -> CallToolResult:
    """Return what is told of a Run, given the answer of `result`. Raises StoreError."""
    run_id, status = ended["runId"], ended["status"]
    this = f'project "{tool.project}", runId "{run_id}"'
    if (handoff := ended.get("handoff")) is not None:
        answered = (
            "list_handoffs says which values, and answer_handoff takes what the person says"
            if handoff["kind"] == HandoffKind.INPUT and call.caller.has(Scope.HANDOFFS)
            else f"tell them that the page /projects/{tool.project}/runs/{run_id} of Callboard takes the answer"
        )
        following = f"A person is asked: {answered}. Then call get_run with wait: {this}."
        return json_answer({"runId": run_id, "status": status, "handoff": handoff, "next": following})
    if status in _UNFINISHED:
        return json_answer({"runId": run_id, "status": status, "next": f"Call get_run with wait: {this}."})
    if (cause := ended.get("error") or ended.get("reason")) is not None:
        kind = cause.get("code") or cause.get("type")
        return error_answer(
            f"Run {run_id} has {'failed' if status == 'failed' else 'been canceled'} ({kind}). get_log and "
            f"get_screenshot may show why: {this}. Its message:\n{_quoted(cause['message'])}"
        )
    shown = {name: ended[name] for name in ("result", "files") if name in ended}
    text = json.dumps(shown, ensure_ascii=False)
    if size_as_sent(text) + len(json.dumps(shown)) > LARGEST:  # it is sent as a text and as data
        more = f"The result is too large for the answer of a tool. GET …/run/{run_id}/result has it."
        return json_answer({"runId": run_id, "status": status, "next": more})
    known = await _known(call.services, tool)
    if known is not None and known.result_schema is not None:
        wrong = await asyncio.to_thread(wrong_parameters, known.result_schema, shown.get("result"))
        if wrong:
            at = path_of(["result", *wrong[0].path])
            return error_answer(
                f"Run {run_id} has completed, but its result is not what its return annotation says, at {at}: expected "
                f"{wrong[0].expected}. There is: {text}"
            )
    return json_answer({"runId": run_id, "status": status, **shown})
