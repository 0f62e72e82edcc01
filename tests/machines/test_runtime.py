"""What `intuned_runtime` gives to user code."""

from __future__ import annotations

import json

from machines.order import End
from tests.machines.lab import Run, failure, value

PROJECT = {
    "api/tells.py": """
        import dataclasses
        from intuned_runtime import IntunedContext, run_info

        async def automation(page):
            assert IntunedContext.current().run_context == run_info()
            return dataclasses.asdict(run_info())
    """,
    "api/extends_payload.py": """
        from intuned_runtime import extend_payload

        async def automation(page, params):
            extend_payload({"api": "one", "parameters": {"text": "\\ud800ä"}}, {"api": "two"})
            extend_payload({"api": "three", "parameters": {"n": 2**70}, "more": "ignored"})
            if params["then"] == "fail":
                raise ValueError("after all")
    """,
    "api/extends_payload_wrongly.py": """
        from intuned_runtime import extend_payload

        async def automation(page, params):
            extend_payload(params)
    """,
    "api/extends_payload_with_an_object.py": """
        from intuned_runtime import extend_payload

        async def automation(page):
            extend_payload({"api": "one", "parameters": {"x": object()}})
    """,
    "api/remembers.py": """
        from intuned_runtime import attempt_store

        def note():
            attempt_store.set("n", attempt_store.get("n", 0) + 1)

        async def automation(page):
            note()
            note()
            return [attempt_store.get("n"), attempt_store.get("nothing"), attempt_store.get("nothing", 5)]
    """,
    "api/is_everywhere.py": """
        import asyncio, threading
        from intuned_runtime import attempt_store, extend_timeout, run_info

        found = {}

        def look(where):
            extend_timeout()
            attempt_store.set(where, True)
            found[where] = run_info().run_id

        async def look_soon(where):
            look(where)

        async def automation(page):
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
    "api/takes_its_time.py": """
        import asyncio
        from intuned_runtime import extend_timeout

        async def automation(page, params):
            for _ in range(params["rounds"]):
                await asyncio.sleep(params["each"])
                extend_timeout()
            return "done"
    """,
}


async def test_run_info_tells_what_the_attempt_was_given_and_none_for_the_rest(quiet: Run) -> None:
    given = {"run_id": "r1", "proxy": "http://proxy:1"}
    told = value(await quiet("tells", run_info=given))
    names = [
        "job_id",
        "job_run_id",
        "auth_session_id",
        "dependency_id",
        "dependency_for",
        "parent_run_id",
        "auth_session",
    ]
    assert told == {**dict.fromkeys([*names, "auth_session"]), **given}


async def test_extended_payloads_come_with_the_result_in_their_order(quiet: Run) -> None:
    report = await quiet("extends_payload", {"then": "return"})
    assert value(report) is None
    assert report.extended_payloads is not None
    assert report.extended_payloads.isascii()
    assert json.loads(report.extended_payloads) == [
        {"api": "one", "parameters": {"text": "\ud800ä"}},
        {"api": "two", "parameters": {}},
        {"api": "three", "parameters": {"n": 2**70}},
    ]
    after = await quiet("tells")
    assert after.extended_payloads is None


async def test_a_failed_attempt_has_no_extended_payloads(quiet: Run) -> None:
    report = await quiet("extends_payload", {"then": "fail"})
    assert (report.end, report.extended_payloads) == (End.FAILED, None)


async def test_a_payload_of_the_wrong_shape_is_an_error_where_it_is_given(quiet: Run) -> None:
    for payload in ({}, {"api": 1}, {"api": "x", "parameters": []}):
        report = failure(await quiet("extends_payload_wrongly", payload))
        assert report.name == "TypeError"
        assert 'A payload is {"api": name, "parameters": object}' in report.message
    report = failure(await quiet("extends_payload_with_an_object"))
    assert report.message.startswith("What extend_payload was given is not JSON serializable")


async def test_the_attempt_store_lives_for_one_attempt(quiet: Run) -> None:
    for _ in range(2):
        assert value(await quiet("remembers")) == [2, None, 5]


async def test_the_runtime_is_reached_from_tasks_threads_and_the_pages_events(quiet: Run) -> None:
    found, all_stored = value(await quiet("is_everywhere", run_info={"run_id": "r2"}))
    assert found == dict.fromkeys(["here", "task", "to_thread", "thread", "event", "exposed", "route"], "r2")
    assert all_stored


async def test_extend_timeout_keeps_an_attempt_alive_beyond_its_timeout(quiet: Run) -> None:
    report = await quiet("takes_its_time", {"rounds": 8, "each": 0.5}, timeout=2)
    assert value(report) == "done"
    assert (report.ended_at - report.started_at).total_seconds() > 2
