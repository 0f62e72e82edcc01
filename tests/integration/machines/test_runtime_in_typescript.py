"""What `@intuned/runtime` gives to user code in a Machine; its limits are tested in JavaScript."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from callboard.schemas.errors import ConfigurationError
from tests.support.machines import Run, failure, value
from tests.support.typescript import handlers

pytestmark = pytest.mark.typescript

TYPESCRIPT = handlers(
    is_everywhere="""
        const { attemptStore, extendTimeout, getExecutionContext } = require("@intuned/runtime");
        const found = {};
        function look(where) {
            extendTimeout();
            attemptStore.set(where, true);
            found[where] = getExecutionContext().runId;
        }
        look("here");
        await new Promise((resolve) => setTimeout(() => resolve(look("timer"))));
        page.on("console", () => look("event"));
        await Promise.all([page.waitForEvent("console"), page.evaluate("console.log('x')")]);
        await page.exposeFunction("look", () => look("exposed"));
        await page.evaluate("look()");
        await page.route("**/*", async (route) => {
            look("route");
            await route.fulfill({ body: "" });
        });
        await page.goto("http://shop.test/");
        return [found, Object.keys(found).every((where) => attemptStore.get(where))];
    """,
    attributes="""
        const { deleteAttribute, setAttribute } = require("@intuned/runtime");
        setAttribute("at", new Date(0));
        setAttribute("tags", ["a", "b"]);
        setAttribute("gone", 1);
        deleteAttribute("gone");
        if (params.then === "fail") throw new Error("after all");
    """,
    keeps="""
        const { persistentStore } = require("@intuned/runtime");
        const before = await persistentStore.get("seen é");
        await persistentStore.set("seen é", { when: new Date(0), word: "\\ud800ä" });
        const all = await Promise.all(Array.from({ length: 40 }, () => persistentStore.get("seen é")));
        return [before, all.length, all.at(-1)];
    """,
    knows_its_login="return await require('@intuned/runtime').getAuthSessionParameters()",
    tells="return require('@intuned/runtime').getExecutionContext()",
    extends_payload="""
        const { extendPayload } = require("@intuned/runtime");
        for (const payload of params.payloads) extendPayload(payload);
    """,
    takes_its_time="""
        const { extendTimeout } = require("@intuned/runtime");
        for (let round = 0; round < params.rounds; round++) {
            await new Promise((resolve) => setTimeout(resolve, params.each * 1000));
            extendTimeout();
        }
        return "done";
    """,
    gives_up="throw new (require('@intuned/runtime').RunError)('sold out', { retryable: false })",
    needs_the_platform="await require('@intuned/runtime').waitForCaptchaSolve(page)",
)


class Store:
    """Services that keep values, and count how many requests are open at the same time."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.open = self.most = 0
        self.refusal = ""

    async def answer_request(self, operation: str, arguments: dict[str, Any]) -> str | None:
        self.open += 1
        self.most = max(self.most, self.open)
        await asyncio.sleep(0.02)  # further requests, if any are let through, arrive meanwhile
        self.open -= 1
        if operation == "persistent_get":
            return self.values.get(arguments["key"])
        if self.refusal:
            raise ConfigurationError(self.refusal)
        self.values[arguments["key"]] = arguments["value"]
        return None


async def test_the_runtime_is_reached_from_timers_and_the_pages_events(quiet: Run) -> None:
    found, all_stored = value(await quiet("is_everywhere", run_info={"run_id": "r2"}))
    assert found == dict.fromkeys(["here", "timer", "event", "exposed", "route"], "r2")
    assert all_stored


async def test_the_execution_context_has_what_applies_in_camel_case(quiet: Run) -> None:
    given = {"run_id": "r1", "job_run_id": "j1", "auth_session_id": None}
    assert value(await quiet("tells", run_info=given)) == {"runId": "r1", "jobRunId": "j1"}


async def test_payloads_come_with_the_result_in_their_order(quiet: Run) -> None:
    one, two = {"api": "one", "parameters": {"text": "\ud800ä"}}, {"api": "two"}
    report = await quiet("extends_payload", {"payloads": [[one, two], one]})
    assert (report.extended_payloads or "").isascii()
    assert json.loads(report.extended_payloads or "") == [one, {**two, "parameters": {}}, one]
    assert failure(await quiet("extends_payload", {"payloads": [{"api": 1}]})).message.startswith(
        "TypeError: A payload is {api: name, parameters: object}; this one is { api: 1 }. (api/extends_payload.ts:"
    )


@pytest.mark.parametrize("then", ["return", "fail"])
async def test_reports_attributes_after_any_outcome(quiet: Run, then: str) -> None:
    report = await quiet("attributes", {"then": then})
    assert report.attributes == {"at": "1970-01-01T00:00:00.000Z", "tags": ["a", "b"]}


async def test_the_persistent_store_is_asked_sixteen_at_a_time(quiet: Run) -> None:
    store = Store()
    kept = {"when": "1970-01-01T00:00:00.000Z", "word": "\ud800ä"}
    assert value(await quiet("keeps", answer_request=store.answer_request)) == [None, 40, kept]
    assert list(store.values) == ["seen é"]
    assert store.most == 16
    store.refusal = "the store of this project is full"
    told = failure(await quiet("keeps", answer_request=store.answer_request)).message
    assert told.startswith(f"Error: {store.refusal} (api/keeps.ts:")


async def test_a_login_tells_its_parameters_if_there_is_one(quiet: Run) -> None:
    async def answer(operation: str, _arguments: dict[str, Any]) -> str:
        assert operation == "auth_session_parameters"
        return '{"user": "anna"}'

    given = {"run_id": "r1", "auth_session_id": "a1"}
    assert value(await quiet("knows_its_login", run_info=given, answer_request=answer)) == {"user": "anna"}
    told = failure(await quiet("knows_its_login", run_info={"run_id": "r1"})).message
    assert told.startswith("Error: getAuthSessionParameters: this Run has no AuthSession. (api/knows_its_login.ts:")


async def test_a_run_error_may_be_final_and_what_needs_the_platform_says_so(quiet: Run) -> None:
    report = await quiet("gives_up")
    assert report.final
    assert failure(report).message == "RunError: sold out (api/gives_up.ts:2)"
    report = await quiet("needs_the_platform")
    assert not report.final
    assert failure(report).message.startswith("PlatformOnlyError: waitForCaptchaSolve() needs a service of Intuned's")


async def test_extend_timeout_keeps_an_attempt_alive_beyond_its_timeout(quiet: Run) -> None:
    assert value(await quiet("takes_its_time", {"rounds": 8, "each": 0.5}, timeout=2)) == "done"
