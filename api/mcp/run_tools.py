"""Tools about Runs and their Handoffs. Their arguments are the fields of REST (docs/contract.md, section 23)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from mcp_types import CallToolResult, Tool, ToolAnnotations
from pydantic import BaseModel, Field

from api.mcp.answers import end_of_text_answer, image_answer, text_answer, whole_text_answer
from api.mcp.api_tools import wait_for_end
from api.mcp.rest import ToolCall
from callboard.schemas.rest.access import Scope
from callboard.schemas.rest.base import AnyText, RequestModel, expects
from callboard.schemas.rest.field_errors import field_error
from callboard.schemas.rest.json_text import validate_body
from callboard.schemas.rest.runs import RunsQuery
from callboard.security.apikeys import Caller

_Wait = Annotated[float, Field(ge=0, le=50, allow_inf_nan=False), expects("a number of seconds from 0 to 50")]
_Number = Annotated[int, Field(ge=1, le=100_000), expects("the number of an Attempt, from 1")]


class _OfRun(RequestModel):
    project: AnyText
    run_id: AnyText


class _GetRun(_OfRun):
    wait: _Wait = 0
    """Seconds to wait for the Run's end before answering."""


class _OfAttempt(_OfRun):
    number: _Number | None = None
    """The number of the Attempt; by default, the last one."""


class _ListRuns(RunsQuery):
    project: AnyText


class _ListHandoffs(RequestModel):
    project: AnyText
    run_id: AnyText | None = None
    """The Run whose last Handoffs are listed; by default, those of the project that are open."""


class _AnswerHandoff(_OfRun):
    handoff_id: AnyText
    values: dict[str, Any] | None = None
    """A text for each of the fields that the Handoff has."""
    reason: Annotated[str, Field(max_length=500), expects("a text of at most 500 characters")] | None = None
    """Why nobody answers, in place of `values`: it declines the Handoff."""


async def _get_run(call: ToolCall, asked: _GetRun) -> CallToolResult:
    if asked.wait:
        await wait_for_end(call, asked.project, asked.run_id, asked.wait)
    answer = await call.rest.get(asked.project, "runs", asked.run_id)
    return whole_text_answer(answer.text, f"GET …/run/{asked.run_id}/result")


async def _cancel_run(call: ToolCall, asked: _OfRun) -> CallToolResult:
    answer = await call.rest.post(asked.project, "run", asked.run_id, "cancel")
    return whole_text_answer(answer.text, f"GET …/run/{asked.run_id}/result")


async def _list_runs(call: ToolCall, asked: _ListRuns) -> CallToolResult:
    query = asked.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"project"})
    answer = await call.rest.get(asked.project, "runs", query=query)
    return whole_text_answer(answer.text, "them with a smaller limit")


async def _get_log(call: ToolCall, asked: _OfAttempt) -> CallToolResult:
    number = await _number(call, asked)
    answer = await call.rest.get(asked.project, "runs", asked.run_id, "attempts", number, "log")
    return end_of_text_answer(answer.text)


async def _get_screenshot(call: ToolCall, asked: _OfAttempt) -> CallToolResult:
    number = await _number(call, asked)
    answer = await call.rest.get(asked.project, "runs", asked.run_id, "attempts", number, "screenshot")
    media_type = answer.headers["content-type"]
    return image_answer(answer.content, media_type, f"GET …/runs/{asked.run_id}/attempts/{number}/screenshot")


async def _number(call: ToolCall, asked: _OfAttempt) -> int:
    """Return the number of the Attempt that is meant. Raises RefusedError if there is no such Run."""
    if asked.number is not None:
        return asked.number
    run: dict[str, Any] = (await call.rest.get(asked.project, "runs", asked.run_id)).json()
    return max((attempt["number"] for attempt in run["attempts"]), default=1)


async def _list_handoffs(call: ToolCall, asked: _ListHandoffs) -> CallToolResult:
    place = ("handoffs",) if asked.run_id is None else ("runs", asked.run_id, "handoffs")
    return whole_text_answer((await call.rest.get(asked.project, *place)).text, "those of one Run")


async def _answer_handoff(call: ToolCall, asked: _AnswerHandoff) -> CallToolResult:
    if (asked.values is None) is (asked.reason is None):
        raise field_error("values", "either values, which answer the Handoff, or a reason, which declines it")
    place = ("runs", asked.run_id, "handoffs", asked.handoff_id)
    if asked.values is None:
        answer = await call.rest.post(asked.project, *place, "decline", body={"reason": asked.reason})
    else:
        answer = await call.rest.post(asked.project, *place, "complete", body={"values": asked.values})
    return text_answer(answer.text)


@dataclass(frozen=True)
class _RunTool[Asked: BaseModel]:
    """A tool that every installation has."""

    name: str
    scope: Scope
    """The scope without which it is not listed. Its route checks it, too."""
    description: str
    arguments: type[Asked]
    run: Callable[[ToolCall, Asked], Awaitable[CallToolResult]]
    changes: bool = False

    def describe(self) -> Tool:
        """Return the tool as the protocol has it."""
        return Tool(
            name=self.name,
            description=self.description,
            input_schema=self.arguments.model_json_schema(by_alias=True),
            annotations=ToolAnnotations(read_only_hint=not self.changes, open_world_hint=False),
        )

    async def call(self, call: ToolCall) -> CallToolResult:
        """Answer a call; null is the same as not given. Raises BadRequest if an argument is wrong, and RefusedError."""
        given = {name: value for name, value in call.arguments.items() if value is not None}
        return await self.run(call, validate_body(self.arguments, given))


_TOOLS: tuple[_RunTool[Any], ...] = (
    _RunTool(
        "get_run",
        Scope.RUNS_READ,
        "Get all that is known of a Run: status, input, result or error, and Attempts. With wait, as soon as it ends.",
        _GetRun,
        _get_run,
    ),
    _RunTool(
        "cancel_run",
        Scope.RUNS_CANCEL,
        "Cancel a Run. It is canceled once nothing of it runs; one that has ended keeps its status.",
        _OfRun,
        _cancel_run,
        changes=True,
    ),
    _RunTool(
        "list_runs",
        Scope.RUNS_READ,
        "List the Runs of a project: the unfinished ones first, then the others by their end, newest first.",
        _ListRuns,
        _list_runs,
    ),
    _RunTool(
        "get_log",
        Scope.RUNS_READ,
        "Get the log of an Attempt of a Run: a JSON object on each line. Of a long one, the end.",
        _OfAttempt,
        _get_log,
    ),
    _RunTool(
        "get_screenshot",
        Scope.RUNS_READ,
        "Get the last picture of the page of an Attempt.",
        _OfAttempt,
        _get_screenshot,
    ),
    _RunTool(
        "list_handoffs",
        Scope.HANDOFFS,
        "List what Runs ask people: the open Handoffs of a project, or the last ones of a Run.",
        _ListHandoffs,
        _list_handoffs,
    ),
    _RunTool(
        "answer_handoff",
        Scope.HANDOFFS,
        "Answer a Handoff with values that a person has given you, or decline it with a reason. Never make values up.",
        _AnswerHandoff,
        _answer_handoff,
        changes=True,
    ),
)


def list_run_tools(caller: Caller) -> list[Tool]:
    """Return the tools that the key may use."""
    return [tool.describe() for tool in _TOOLS if caller.has(tool.scope)]


def find_run_tool(name: str) -> _RunTool[Any] | None:
    """Return the tool of this name, or None if there is none."""
    return next((tool for tool in _TOOLS if tool.name == name), None)
