"""What `intuned_runtime` gives to user code."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from callboard.machines.machine_attempt import MachineAttempt
from callboard.schemas.workflow.run import ErrorCode
from tests.support.automations import automations
from tests.support.machines import Run, failure, value

PROJECT = automations(
    extends_payload_with_models="""
        from intuned_runtime import extend_payload
        class Model:
            # As pydantic's, which is not installed here; the tests of environments have the real one.
            def __init__(self, **fields):
                self.fields = fields
            def model_dump(self, *, mode, by_alias):
                assert (mode, by_alias) == ("json", True)
                return self.fields
        extend_payload(
            {"api": "one", "parameters": Model(n=1)},
            Model(api="two", parameters={"n": 2}),
            {"api": "three", "parameters": {"inner": [Model(n=3)]}},
        )
        try:
            extend_payload({"api": "four", "parameters": Model})
        except TypeError as error:
            return str(error)
    """,
    remembers="""
        from intuned_runtime import attempt_store
        def note():
            attempt_store.set("n", attempt_store.get("n", 0) + 1)
        note()
        note()
        return [attempt_store.get("n"), attempt_store.get("nothing"), attempt_store.get("nothing", 5)]
    """,
    is_everywhere="""
        import asyncio, threading
        from intuned_runtime import attempt_store, extend_timeout, run_info
        found = {}
        def look(where):
            extend_timeout()
            attempt_store.set(where, True)
            found[where] = run_info().run_id
        async def look_soon(where):
            look(where)
        look("here")
        await asyncio.create_task(look_soon("task"))
        await asyncio.to_thread(look, "to_thread")
        thread = threading.Thread(target=look, args=("thread",))
        thread.start()
        thread.join()
        page.on("console", lambda message: look("event"))
        async with page.expect_console_message():
            await page.evaluate("console.log('x')")
        await page.expose_function("look", lambda: look("exposed"))
        await page.evaluate("look()")
        async def answer(route):
            look("route")
            await route.fulfill(body="")
        await page.route("**/*", answer)
        await page.goto("http://shop.test/")
        return [found, all(attempt_store.get(where) for where in found)]
    """,
    attributes="""
        import datetime, json
        from intuned_runtime import delete_attribute, set_attribute
        def refused(key, value):
            try:
                set_attribute(key, value)
            except ValueError as error:
                return str(error)
        utc = datetime.UTC
        set_attribute("at", datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=utc))
        set_attribute("gone", 1)
        delete_attribute("gone")
        delete_attribute("never set")
        for key, value in params["good"]:
            set_attribute(key, value)
        bad = [*params["bad"], ("k", float("nan")), ("k", ("a",)), ("k", datetime.datetime(2026, 1, 2))]
        told = [refused(key, value) for key, value in bad]
        if params["then"] == "fail":
            raise ValueError(json.dumps(told))
        return told
    """,
    keeps="""
        from intuned_runtime import persistent_store
        VALUES = [float("nan"), object(), {1, 2}, "x" * 1024 * 1024]
        async def refused(key, value):
            try:
                await persistent_store.set(key, value)
            except ValueError as error:
                return str(error)
        told = [await refused(key, 1) for key in [*params["bad"], b"bytes"]]
        told += [await refused("k", value) for value in VALUES]
        return told
    """,
    tells="""
        import dataclasses
        from intuned_runtime import IntunedContext, run_info
        assert IntunedContext.current().run_context == run_info()
        return dataclasses.asdict(run_info())
    """,
    extends_payload="""
        from intuned_runtime import extend_payload
        for payloads in params["payloads"]:
            extend_payload(*payloads)
        if params.get("fails"):
            raise ValueError("after all")
    """,
    extends_payload_with_an_object="""
        from intuned_runtime import extend_payload
        extend_payload({"api": "one", "parameters": {"x": object()}})
    """,
    attributes_until_refused="""
        from intuned_runtime import set_attribute
        for number in range(100):
            try:
                set_attribute(f"k{number}", params["value"])
            except ValueError as error:
                return [number, str(error)]
    """,
    asks_without_end="""
        import gc
        from intuned_runtime import persistent_store
        channel = next(found for found in gc.get_objects() if type(found).__name__ == "Channel")
        asked = {"operation": "persistent_get", "arguments": {"key": "k"}}
        for number in range(200):
            channel.post("request", number=1_000_000 + number, **asked)
        return await persistent_store.get("k")
    """,
    says="""
        import asyncio
        import gc
        channel = next(found for found in gc.get_objects() if type(found).__name__ == "Channel")
        for _ in range(params["times"]):
            await channel.send(params["kind"], **params["fields"])
        if params["then"] == "wait":
            await asyncio.Event().wait()
    """,
    takes_its_time="""
        import asyncio
        from intuned_runtime import extend_timeout
        for _ in range(params["rounds"]):
            await asyncio.sleep(params["each"])
            extend_timeout()
        return "done"
    """,
)


async def test_run_info_tells_what_the_attempt_was_given_and_none_for_the_rest(quiet: Run) -> None:
    given = {"run_id": "r1", "proxy": "http://proxy:1"}
    names = "job_id job_run_id auth_session_id dependency_id dependency_for parent_run_id auth_session trace_id"
    none = dict.fromkeys([*names.split(), "traceparent", "attempt_path"])
    assert value(await quiet("tells", run_info=given)) == {**none, **given}


async def test_extended_payloads_come_with_the_result_in_their_order(quiet: Run) -> None:
    one, two = {"api": "one", "parameters": {"text": "\ud800ä"}}, {"api": "two"}
    three = {"api": "three", "parameters": {"n": 2**70}}
    given = {"payloads": [[one, two], [{**three, "more": "ignored"}]]}
    report = await quiet("extends_payload", given)
    assert value(report) is None
    assert (report.extended_payloads or "").isascii()
    assert json.loads(report.extended_payloads or "") == [one, {**two, "parameters": {}}, three]
    assert (await quiet("tells")).extended_payloads is None
    assert failure(await quiet("extends_payload", {**given, "fails": True})).name == "ValueError"


async def test_payloads_and_their_parameters_may_be_models(quiet: Run) -> None:
    report = await quiet("extends_payload_with_models")
    assert "or a pydantic model of that shape" in value(report)
    given = [("one", {"n": 1}), ("two", {"n": 2}), ("three", {"inner": [{"n": 3}]})]
    assert json.loads(report.extended_payloads or "") == [{"api": api, "parameters": each} for api, each in given]


@pytest.mark.parametrize("payload", [{}, {"api": 1}, {"api": "x", "parameters": []}])
async def test_a_payload_of_the_wrong_shape_is_an_error_where_it_is_given(quiet: Run, payload: dict[str, Any]) -> None:
    report = failure(await quiet("extends_payload", {"payloads": [[payload]]}))
    assert report.name == "TypeError"
    assert 'A payload is {"api": name, "parameters": object}' in report.message


async def test_a_payload_without_a_json_form_is_an_error(quiet: Run) -> None:
    report = failure(await quiet("extends_payload_with_an_object"))
    assert report.message == "extendedPayloads[0].parameters.x: an object has no JSON form"


async def test_the_attempt_store_lives_for_one_attempt(quiet: Run) -> None:
    for _ in range(2):
        assert value(await quiet("remembers")) == [2, None, 5]


async def test_the_runtime_is_reached_from_tasks_threads_and_the_pages_events(quiet: Run) -> None:
    found, all_stored = value(await quiet("is_everywhere", run_info={"run_id": "r2"}))
    assert found == dict.fromkeys(["here", "task", "to_thread", "thread", "event", "exposed", "route"], "r2")
    assert all_stored


GOOD: dict[str, Any] = {
    "text": "ä" * 255,
    "Number_1": 2**70,
    "float": 1.5,
    "flag": True,
    "list": ["x" * 255] * 20,
    "a" * 64: "",
}
BAD: list[tuple[Any, Any]] = [
    *((key, 1) for key in ("", "1st", "_x", "\u00e4", "a" * 65, "a\n", None, 5)),
    *(("k", value) for value in (None, {}, "x" * 256, "\ud800", ["x"] * 21, ["x" * 256], ["\ud800"], [1])),
]


@pytest.mark.parametrize("then", ["return", "fail"])
async def test_reports_attributes_after_any_outcome_and_refuses_bad_ones(quiet: Run, then: str) -> None:
    report = await quiet("attributes", {"good": list(GOOD.items()), "bad": BAD, "then": then})
    told = (
        value(report)
        if then == "return"
        else json.loads(failure(report).message.removeprefix("ValueError: ").rpartition(" (")[0])
    )
    assert all(message.startswith("attribute ") for message in told)
    assert report.attributes == {"at": "2026-01-02T03:04:05+00:00", **GOOD}
    assert (await quiet("tells")).attributes == {}


@pytest.mark.parametrize(
    ("one", "fit", "message"),
    [
        (1, 64, "attribute 'k64': a Run has at most 64 attributes"),
        ("\u00e4" * 255, 31, "attribute 'k31': all attributes together would be 16599 bytes; at most 16384"),
    ],
)
async def test_attributes_are_bounded_in_all(quiet: Run, one: Any, fit: int, message: str) -> None:
    assert value(await quiet("attributes_until_refused", {"value": one})) == [fit, message]


async def test_refuses_bad_keys_and_values_of_the_persistent_store_unsent(quiet: Run) -> None:
    # Nobody answers here: what was sent would be an error of another kind.
    told = value(await quiet("keeps", {"bad": ["", "a:b", "#", None, 5]}))
    keys, values, large = told[:6], told[6:-1], told[-1]
    assert all(message.startswith("persistent_store: a key is text of at least one character") for message in keys)
    assert all(message.startswith("persistent_store: the value for 'k' is not JSON: ") for message in values)
    assert large.startswith(
        "persistent_store: the value for 'k' is 1048579 bytes of JSON with its key; at most 1048576"
    )


async def test_extend_timeout_keeps_an_attempt_alive_beyond_its_timeout(quiet: Run) -> None:
    assert value(await quiet("takes_its_time", {"rounds": 8, "each": 0.5}, timeout=2)) == "done"


@pytest.mark.parametrize(
    ("kind", "method", "most"),
    [
        pytest.param("called", "begin", 1, id="it begins once"),
        pytest.param("extend", "extend", 200, id="many extensions are few messages"),
    ],
)
async def test_few_of_many_repeated_messages_reach_the_worker(
    quiet: Run, monkeypatch: pytest.MonkeyPatch, kind: str, method: str, most: int
) -> None:
    heard: list[str] = []
    handle = getattr(MachineAttempt, method)

    def count(*arguments: Any, **named: Any) -> None:
        heard.append(kind)
        handle(*arguments, **named)

    monkeypatch.setattr(MachineAttempt, method, count)
    said = {"kind": kind, "fields": {}, "times": 5_000, "then": "end"}
    assert value(await quiet("says", said)) is None
    assert len(heard) <= most


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("request", {"number": 1_000_000, "operation": "unknown", "arguments": {}}),
        ("done", {"result": 1, "extendedPayloads": None, "attributes": {}, "imported": []}),
    ],
)
async def test_a_message_that_is_none_of_ours_ends_the_attempt(quiet: Run, kind: str, fields: dict[str, Any]) -> None:
    report = await quiet("says", {"kind": kind, "fields": fields, "times": 1, "then": "wait"})
    assert failure(report).code == ErrorCode.SCRIPT_PROCESS_CRASHED


class Slow:
    """Services that count how many requests are open at the same time."""

    def __init__(self) -> None:
        self.asked = self.open = self.most = 0

    async def answer_request(self, operation: str, arguments: dict[str, Any]) -> str | None:
        assert operation == "persistent_get"
        self.asked += 1
        self.open += 1
        self.most = max(self.most, self.open)
        await asyncio.sleep(0.02)  # further requests, if any are let through, arrive meanwhile
        self.open -= 1
        return json.dumps(arguments["key"])


async def test_answers_all_requests_of_an_attempt_sixteen_at_a_time(quiet: Run) -> None:
    """Also if user code writes them past the runtime: its socket is read no further."""
    services = Slow()
    assert value(await quiet("asks_without_end", answer_request=services.answer_request)) == "k"
    assert (services.asked, services.most) == (201, 16)
