"""How user code asks a person, and hears how that ended: in an API, and in a create that is a generator."""

from __future__ import annotations

import json
from typing import Any

import pytest

from callboard.schemas.workflow.attempt import AttemptKind, AttemptStatus
from tests.support.automations import automations
from tests.support.machines import Run, failure, value
from tests.support.typescript import bundled, handlers

pytestmark = pytest.mark.both_languages

PROJECT = {
    **automations(
        asks="""
            from callboard_runtime import request_input
            return await request_input("the code", pattern=params["pattern"])
        """
    ),
    "auth-sessions/create.py": """
        from callboard_runtime import HandoffDeclined, hand_over, request_input
        from intuned_runtime import set_attribute

        async def create(page, params):
            code = yield request_input("the code", secret=True)
            nothing = yield hand_over(page, "the browser")
            assert nothing is None
            try:
                yield request_input("whether it may")
            except HandoffDeclined as error:
                set_attribute("told", [code, str(error)])
            try:
                if params["then"] == "ask":
                    yield request_input("in vain")
                if params["then"] == "yield":
                    yield "the code"
            finally:
                set_attribute("closed", True)
    """,
}
TYPESCRIPT = {
    **handlers(
        asks="""
            const { requestInput } = require("@callboard/runtime");
            return await requestInput("the code", { pattern: params.pattern });
        """
    ),
    **bundled(
        {
            "auth-sessions/create.ts": """
                const { HandoffDeclined, handOver, requestInput } = require("@callboard/runtime");
                const { setAttribute } = require("@intuned/runtime");

                export default async function* create(params, page) {
                    const code = yield requestInput("the code", { secret: true });
                    const nothing = yield handOver(page, "the browser");
                    if (nothing !== undefined) throw new Error("it has given something");
                    try {
                        yield requestInput("whether it may");
                    } catch (error) {
                        if (error instanceof HandoffDeclined) setAttribute("told", [code, error.message]);
                    }
                    try {
                        if (params.then === "ask") yield requestInput("in vain");
                        if (params.then === "yield") yield "the code";
                    } finally {
                        setAttribute("closed", true);
                    }
                };
            """
        }
    ),
}


async def answer(operation: str, arguments: dict[str, Any]) -> str:
    assert operation == ("hand_over" if arguments["instructions"] == "the browser" else "request_input")
    ends = {
        "the browser": {"status": "completed", "values": {}},
        "the code": {"status": "completed", "values": {"code": "493027"}},
        "whether it may": {"status": "declined", "reason": "No."},
        "in vain": {"status": "expired"},
    }
    return json.dumps({"reason": None, **ends[arguments["instructions"]]})


async def test_an_answer_is_what_an_awaited_question_gives(quiet: Run) -> None:
    assert value(await quiet("asks", {"pattern": "[0-9]{6}"}, answer_request=answer)) == "493027"


async def test_a_pattern_that_is_none_where_it_is_matched_is_a_sentence(quiet: Run) -> None:
    told = failure(await quiet("asks", {"pattern": r"(?<six>\d{6})"}, answer_request=answer))
    assert "the pattern is no regular expression: unknown extension ?<s at position 1" in told.message
    assert " (api/asks." in told.message


async def test_a_yielded_question_gives_its_answer_or_raises_where_it_is_yielded(quiet: Run) -> None:
    report = await quiet("", {"then": "end"}, kind=AttemptKind.CREATE, answer_request=answer)
    assert (report.status, report.attributes) == (
        AttemptStatus.COMPLETED,
        {"told": ["493027", "No."], "closed": True},
    ), report.error


@pytest.mark.parametrize(
    ("then", "name", "message", "final"),
    [
        ("ask", "HandoffTimeout", "HandoffTimeout: nobody has answered in time: in vain (auth-sessions/create.", False),
        ("yield", "InvalidAPIError", "It may yield `request", True),
    ],
)
async def test_a_create_that_yields_ends_as_any_other_one(
    quiet: Run, then: str, name: str, message: str, final: bool
) -> None:
    report = await quiet("", {"then": then}, kind=AttemptKind.CREATE, answer_request=answer)
    told = failure(report)
    assert (told.name, told.final, message in told.message) == (name, final, True), told.message
    assert report.attributes == {"told": ["493027", "No."], "closed": True}
