"""How user code is found and called, and what its end reads like."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest

from callboard.schemas.workflow.attempt import AttemptStatus
from callboard.schemas.workflow.base import MESSAGE_LIMIT, STACK_LIMIT
from callboard.schemas.workflow.run import ErrorCode, RunError
from tests.support.automations import automations
from tests.support.machines import Failure, Language, Run, failure, value
from tests.support.typescript import bundled, handlers

LIMIT = 2 * 1024 * 1024

PROJECT = {
    **automations(
        echo="return params",
        raises="""
            from shop.prices import price
            return price("none")
        """,
        tells_the_hour="""
            from datetime import datetime
            return datetime.fromtimestamp(0).hour
        """,
        raises_without_words="raise KeyboardInterrupt",
        raises_what_it_is_told="raise ValueError(params)",
        raises_the_unspeakable="""
            class Unspeakable(BaseException):
                def __str__(self):
                    raise RuntimeError("no words")
            raise Unspeakable
        """,
        recurses="""
            def down(): return down()
            return down()
        """,
        cancels_itself="""
            import asyncio
            asyncio.current_task().cancel()
            await asyncio.sleep(10)
        """,
        gives_up="""
            from intuned_runtime import NonRetryableError
            class SoldOutError(NonRetryableError): pass
            raise SoldOutError("sold out")
        """,
        asks_for_time="""
            from datetime import timedelta
            from callboard_runtime import NotRetryable, RetryLater
            class BusyError(RetryLater):
                def __init__(self): pass
            match params["what"]:
                case "seconds": raise RetryLater(2.5)
                case "timedelta": raise RetryLater(timedelta(hours=24))
                case "subclass": raise BusyError
                case "too-long": raise RetryLater(86_401)
                case "never": raise NotRetryable("sold out")
        """,
        exits="import sys; sys.exit('enough')",
        imports_what_is_missing_late="import nowhere_to_be_found",
        names_what_is_not="return not_a_name",
        reads_too_early="""
            if params:
                later = 1
            return later
        """,
        returns_an_object="return object()",
        returns_much="return 'x' * (params['size'] - 2)",
        promises_much="""
            from intuned_runtime import extend_payload
            extend_payload({"api": "echo", "parameters": {"much": "x" * params["size"]}})
        """,
    ),
    "shop/prices.py": """
        def price(item):
            raise LookupError(f"no price for {item}")
    """,
    "api/arguments.py": """
        async def automation(*args, **kwargs):
            return [len(args), type(args[0]).__name__, list(args[1:]), kwargs]
    """,
    "api/shop/lists/01-all-items.py": "async def automation(page): return 'all items'",
    "api/2024-report.py": "async def automation(page): return 'report'",
    "api/creates.py": """
        automation = None
        async def check(page): return "check"
        async def create(page, params): return "create"
    """,
    "api/checks.py": "async def check(page): return 'check'",
    "api/exits_at_import.py": "raise SystemExit(3)",
    "api/fails_at_import.py": "1 / 0",
    "api/imports_what_is_missing.py": "import nowhere_to_be_found",
    "api/imports_what_is_broken.py": "import broken_helper",
    "broken_helper.py": "def (:",
    "api/broken.py": "\nasync def automation(page, params) return 1",
    "api/empty.py": "x = 1",
    "api/takes_too_much.py": "async def automation(page, params, more): return 1",
    "api/takes_what_its_decorator_gives.py": """
        import functools
        def with_more(function):
            @functools.wraps(function)
            async def automation(page): return await function(page, "more", "and more")
            return automation
        @with_more
        async def automation(page, more, and_more): return [more, and_more]
    """,
    "api/not_async.py": "def automation(page, params): return 1",
}


TYPESCRIPT = {
    **handlers(
        echo="return params",
        arguments="return [arguments.length, page.url(), context === page.context(), params]",
        raises="""
            class LookupError extends Error {}
            function price(item) { throw new LookupError(`no price for ${item}`); }
            return price("none");
        """,
        tells_the_hour="return new Date(0).getHours()",
        throws_text="throw 'no words'",
        throws_nothing="throw null",
        throws_what_tells_of_another="throw Object.assign(new Error('mine'), { told: { message: 'not mine' } })",
        leaves_what_is_not_json="globalThis[Symbol.for('callboard.runtime')].attributes.price = 3n",
        raises_what_it_is_told="class ValueError extends Error {} throw new ValueError(params)",
        recurses="function down() { return down() + 1; } return down();",
        gives_up="""
            const { NotRetryable } = require("@callboard/runtime");
            class SoldOutError extends NotRetryable { name = "SoldOutError"; }
            throw new SoldOutError("sold out");
        """,
        asks_for_time="""
            const { RetryLater } = require("@callboard/runtime");
            throw new RetryLater(2.5);
        """,
        exits="process.exit(3)",
        exits_later="setTimeout(() => process.exit(3)); await new Promise(() => {});",
        throws_later="""
            setTimeout(() => { throw new TypeError("too late"); });
            await new Promise(() => {});
        """,
        imports_what_is_missing="require('nowhere-to-be-found')",
        names_what_is_not="return notAName",
        times_out="await page.locator('#nothing').click({ timeout: 50 })",
        knows_a_time_out="""
            const { errors } = require("playwright");
            try { await page.locator("#nothing").click({ timeout: 50 }); }
            catch (error) { return error instanceof errors.TimeoutError; }
        """,
        launches="await require('playwright').chromium.launch()",
        returns_an_object="return new Map()",
        returns_much="return 'x'.repeat(params.size - 2)",
        promises_much="""
            const { extendPayload } = require("@intuned/runtime");
            extendPayload({ api: "echo", parameters: { much: "x".repeat(params.size) } });
        """,
    ),
    **bundled(
        {
            "api/shop/lists/01-all-items.ts": "export default async () => 'all items';",
            "api/2024-report.ts": "export default async () => 'report';",
            "api/not_async.ts": "export default () => 'at once';",
            "api/fails_at_import.ts": "throw new RangeError('as it was loaded');",
            "api/empty.ts": "const x = 1;",
        }
    ),
}


@pytest.mark.parametrize("parameters", [{"item": "lamp", "n": 3}, {}, None])
async def test_an_automation_is_given_its_page_and_parameters_if_any(quiet: Run, parameters: Any) -> None:
    report = await quiet("arguments", parameters)
    given = [] if parameters is None else [parameters]
    assert value(report) == [1 + len(given), "Page", given, {}]
    assert (report.status, report.extended_payloads) == (AttemptStatus.COMPLETED, None)


@pytest.mark.parametrize(
    ("api", "answer"),
    [
        ("shop/lists/01-all-items", "all items"),
        ("takes_what_its_decorator_gives", ["more", "and more"]),
        ("2024-report", "report"),
        ("creates", "create"),
        ("checks", "check"),
    ],
)
async def test_a_function_is_found_by_the_path_of_its_file(quiet: Run, api: str, answer: str) -> None:
    """Without an `automation`, `create` is called, and without that, `check`."""
    assert value(await quiet(api, {} if api == "creates" else None)) == answer


PLACES = [
    {"text": "ä€𝄞\u2028\x00\x7f\ud800", "\udfff": [None, True, -0.0, 1e300, 2**70]},
    {"nested": {"a": [[[{"b": {}}]]]}},
    {"much": "ü" * 300_000},
]


@pytest.mark.both_languages
@pytest.mark.parametrize("parameters", PLACES, ids=["unicode", "nested", "large"])
async def test_parameters_and_result_come_through_unchanged(quiet: Run, parameters: Any) -> None:
    report = await quiet("echo", parameters)
    assert value(report) == parameters
    assert (report.result or "").isascii()


@pytest.mark.both_languages
async def test_the_time_zone_is_that_of_the_projects_variables(quiet: Run) -> None:
    """Though the process that calls user code is started before its variables are known."""
    zones = {"Asia/Tokyo": 9, "America/Lima": 19, "UTC": 0}
    assert {zone: value(await quiet("tells_the_hour", variables=(("TZ", zone),))) for zone in zones} == zones


@pytest.mark.both_languages
@pytest.mark.parametrize(
    ("api", "size", "told", "told_size"),
    [("returns_much", LIMIT + 1, "Result", LIMIT + 1), ("promises_much", LIMIT, "What extend", LIMIT + 41)],
)
async def test_what_is_too_big_is_so_for_good(quiet: Run, api: str, size: int, told: str, told_size: int) -> None:
    report = failure(await quiet(api, {"size": size}))
    assert (report.code, report.error.category, report.final) == (ErrorCode.RESULT_TOO_BIG, "execution", True)
    assert report.message.startswith(told)
    assert (report.details["sizeInBytes"], report.details["maxSizeInBytes"]) == (told_size, LIMIT)


STACKS = {
    Language.PYTHON: [
        r'^  File "api/raises.py", line 3, in automation\n',
        r'\n  File "shop/prices.py", line 3, in price\n',
        r"\nLookupError: no price for none\n$",
    ],
    Language.TYPESCRIPT: [
        r"^LookupError: no price for none\n",
        r"\n    at price \(api/raises.ts:3:\d+\)\n    at .*handler \(api/raises.ts:4:\d+\)$",
    ],
}


@pytest.mark.both_languages
async def test_the_stack_of_an_exception_is_the_projects(quiet: Run, language: Language) -> None:
    report = failure(await quiet("raises", {}))
    assert [part for part in STACKS[language] if not re.search(part, report.stack)] == []


@pytest.mark.both_languages
@pytest.mark.parametrize(
    "message", ["lone \ud800 surrogate", "nul \x00", "𝄞 \u2028x", "x" * 100_000, "\udc80" * 100_000], ids=range(5)
)
async def test_any_message_of_an_exception_comes_through_as_valid_text(
    quiet: Run, message: str, language: Language
) -> None:
    report = failure(await quiet("raises_what_it_is_told", json.dumps(message)))
    assert len(report.message) <= MESSAGE_LIMIT
    assert len(report.stack) <= STACK_LIMIT
    file = f"raises_what_it_is_told.{'py' if language is Language.PYTHON else 'ts'}"
    assert file in report.stack
    assert RunError.model_validate_json(report.error.model_dump_json()) == report.error
    assert report.message.startswith(f"ValueError: {message.encode(errors='backslashreplace').decode()[:3]}")
    assert f" (api/{file}:2)" in report.message


@pytest.mark.parametrize(
    ("what", "wait", "message"),
    [
        ("seconds", timedelta(seconds=2.5), "RetryLater: another Attempt may help in 2.5 seconds"),
        ("timedelta", timedelta(hours=24), "RetryLater: another Attempt may help in 86400 seconds"),
        ("subclass", timedelta(), "BusyError: another Attempt may help in 0 seconds"),
        ("too-long", None, "ValueError: RetryLater takes a number of seconds from 0 to 86400, or such a timedelta"),
        ("never", None, "NotRetryable: sold out"),
    ],
)
async def test_user_code_says_whether_and_when_another_attempt_may_help(
    quiet: Run, what: str, wait: timedelta | None, message: str
) -> None:
    report = await quiet("asks_for_time", {"what": what})
    failed = failure(report)
    assert (report.retry_after, failed.final) == (wait, what == "never")
    assert failed.code == ErrorCode.SCRIPT_EXECUTION_EXCEPTION
    assert failed.message.partition(" (api/asks_for_time.py:")[0] == message


MISSING = "ModuleNotFoundError: No module named"
NEEDS = (
    "It is neither a file of the project nor in a package that it declares. Declare its package in requirements.txt."
)


@pytest.mark.parametrize(
    ("api", "name", "message", "final"),
    [
        ("raises", "LookupError", "LookupError: no price for none (shop/prices.py:3)", False),
        ("raises_without_words", "KeyboardInterrupt", "KeyboardInterrupt (api/raises_without_words.py:2)", False),
        ("raises_the_unspeakable", "Unspeakable", "Unspeakable (api/raises_the_unspeakable.py:5)", False),
        ("recurses", "RecursionError", "RecursionError: ", False),
        ("cancels_itself", "", "canceled by its own code", False),
        ("fails_at_import", "ZeroDivisionError", "division by zero (api/fails_at_import.py:1)", False),
        ("exits", "SystemExit", "The automation called sys.exit('enough'). (api/exits.py:2)", False),
        ("exits_at_import", "SystemExit", "The automation called sys.exit(3). (api/exits_at_import.py:1)", False),
        ("gives_up", "SoldOutError", "SoldOutError: sold out (api/gives_up.py:4)", True),
        ("returns_an_object", "TypeError", "result: an object has no JSON form", True),
        ("missing", "APINotFoundError", "api/missing.py is not in the project.", True),
        ("missing/too", "ModuleNotFoundError", f"{MISSING} 'api.missing'", True),
        ("imports_what_is_missing", "ModuleNotFoundError", "_found' (api/imports_what_is_missing.py:1)", True),
        ("imports_what_is_missing_late", "ModuleNotFoundError", f"_missing_late.py:2)\n{NEEDS}", True),
        ("imports_what_is_broken", "SyntaxError", "broken_helper.py, line 1) (api/imports_what_is_broken.py:1)", True),
        ("names_what_is_not", "NameError", "'not_a_name' is not defined (api/names_what_is_not.py:2)", True),
        ("reads_too_early", "UnboundLocalError", "(api/reads_too_early.py:4)", False),
        ("takes_too_much", "InvalidAPIError", "automation(page): missing a required argument: 'params'", True),
        ("empty", "APINotFoundError", "has no function `automation`", True),
        ("not_async", "InvalidAPIError", "write `async def automation`", True),
        ("broken", "SyntaxError", "api/broken.py does not parse", True),
    ],
)
async def test_a_failure_has_name_and_place_and_is_final_if_nothing_mends_it(
    quiet: Run, api: str, name: str, message: str, final: bool
) -> None:
    report = await fails(quiet, api, name, message, final=final)
    assert ("Declare" in report.message) is api.startswith("imports_what_is_missing"), "others are of a package of it"


async def fails(quiet: Run, api: str, name: str, message: str, *, final: bool) -> Failure:
    report = failure(await quiet(api))
    assert (report.code, report.error.category) == (ErrorCode.SCRIPT_EXECUTION_EXCEPTION, "execution")
    assert (report.name, report.final) == (name, final)
    assert message in report.message
    assert value(await quiet("echo", {"still": "there"})) == {"still": "there"}
    return report


@pytest.mark.typescript
@pytest.mark.parametrize(
    ("api", "name", "message", "final"),
    [
        ("raises", "LookupError", "LookupError: no price for none (api/raises.ts:3)", False),
        ("throws_text", "string", "no words", False),
        ("throws_nothing", "null", "null was thrown instead of an Error", False),
        ("throws_what_tells_of_another", "Error", "Error: mine (api/throws_what_tells_of_another.ts:2)", False),
        ("leaves_what_is_not_json", "TypeError", "Do not know how to serialize a BigInt", False),
        ("recurses", "RangeError", "RangeError: Maximum call stack size exceeded (api/recurses.ts:2)", False),
        ("fails_at_import", "RangeError", "as it was loaded (api/fails_at_import.ts:1)", False),
        ("exits", "ProcessExit", "The automation called process.exit(3). (api/exits.ts:2)", False),
        ("exits_later", "ProcessExit", "The automation called process.exit(3). (api/exits_later.ts:2)", False),
        ("throws_later", "TypeError", "TypeError: too late (api/throws_later.ts:2)", False),
        ("gives_up", "SoldOutError", "SoldOutError: sold out (api/gives_up.ts:4)", True),
        ("returns_an_object", "TypeError", "result: a Map has no JSON form; return Object.fromEntries(…)", True),
        ("missing", "APINotFoundError", "api/missing is not in the project.", True),
        ("imports_what_is_missing", "Error", "Cannot find module 'nowhere-to-be-found'", True),
        ("names_what_is_not", "ReferenceError", "notAName is not defined (api/names_what_is_not.ts:2)", True),
        ("empty", "APINotFoundError", "write `export default async function handler(params, page, context)`", True),
        ("times_out", "TimeoutError", "Timeout 50ms exceeded. (api/times_out.ts:2)", False),
        ("launches", "Error", "chromium.launch is not to be had here", False),
    ],
)
async def test_a_failure_in_typescript_has_name_and_place_and_is_final_if_nothing_mends_it(
    quiet: Run, api: str, name: str, message: str, final: bool
) -> None:
    await fails(quiet, api, name, message, final=final)


@pytest.mark.typescript
@pytest.mark.parametrize(
    ("api", "parameters", "answer"),
    [
        ("arguments", {"n": 3}, [3, "about:blank", True, {"n": 3}]),
        ("arguments", None, [3, "about:blank", True, {}]),
        ("shop/lists/01-all-items", None, "all items"),
        ("2024-report", None, "report"),
        ("not_async", None, "at once"),
        ("knows_a_time_out", None, True),
    ],
)
async def test_a_handler_in_typescript_is_given_parameters_page_and_context(
    quiet: Run, api: str, parameters: Any, answer: Any
) -> None:
    assert value(await quiet(api, parameters)) == answer


@pytest.mark.typescript
async def test_an_attempt_in_typescript_says_when_another_may_help(quiet: Run) -> None:
    report = await quiet("asks_for_time")
    assert report.retry_after == timedelta(seconds=2.5)
    assert failure(report).message.startswith("RetryLater: another Attempt may help in 2.5 seconds")
