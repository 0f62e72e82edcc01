"""How user code is found and called, and what its end reads like."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.workflow.attempt import AttemptStatus
from schemas.workflow.base import MESSAGE_LIMIT, STACK_LIMIT
from schemas.workflow.run import ErrorCode, RunError
from tests.support.machines import Run, failure, value

LIMIT = 2 * 1024 * 1024

PROJECT = {
    "api/echo.py": """
        async def automation(page, params):
            return params
    """,
    "api/arguments.py": """
        async def automation(*args, **kwargs):
            return [len(args), type(args[0]).__name__, list(args[1:]), kwargs]
    """,
    "api/shop/lists/01-all-items.py": """
        async def automation(page):
            return "all items"
    """,
    "api/2024-report.py": """
        async def automation(page):
            return "report"
    """,
    "api/creates.py": """
        automation = None
        async def check(page): return "check"
        async def create(page, params): return "create"
    """,
    "api/checks.py": """
        async def check(page): return "check"
    """,
    "api/raises.py": """
        from shop.prices import price

        async def automation(page, params):
            return price("none")
    """,
    "shop/prices.py": """
        def price(item):
            raise LookupError(f"no price for {item}")
    """,
    "api/raises_without_words.py": """
        async def automation(page):
            raise KeyboardInterrupt
    """,
    "api/raises_what_it_is_told.py": """
        async def automation(page, message):
            raise ValueError(message)
    """,
    "api/raises_the_unspeakable.py": """
        class Unspeakable(BaseException):
            def __str__(self):
                raise RuntimeError("no words")

        async def automation(page):
            raise Unspeakable
    """,
    "api/recurses.py": """
        async def automation(page):
            def down(): return down()
            return down()
    """,
    "api/cancels_itself.py": """
        import asyncio

        async def automation(page):
            asyncio.current_task().cancel()
            await asyncio.sleep(10)
    """,
    "api/gives_up.py": """
        from intuned_runtime import NonRetryableError

        class SoldOutError(NonRetryableError): pass

        async def automation(page):
            raise SoldOutError("sold out")
    """,
    "api/exits.py": """
        import sys

        async def automation(page):
            sys.exit("enough")
    """,
    "api/exits_at_import.py": "raise SystemExit(3)",
    "api/fails_at_import.py": "1 / 0",
    "api/imports_what_is_missing.py": "import nowhere_to_be_found",
    "api/imports_what_is_missing_late.py": """
        async def automation(page):
            import nowhere_to_be_found
    """,
    "api/imports_what_is_broken.py": "import broken_helper",
    "broken_helper.py": "def (:",
    "api/broken.py": "\nasync def automation(page, params) return 1",
    "api/empty.py": "x = 1",
    "api/not_async.py": "def automation(page, params): return 1",
    "api/returns.py": """
        import dataclasses, enum, math

        @dataclasses.dataclass
        class Item:
            name: str
            parts: list

        class Model:
            def model_dump(self, *, mode, by_alias):
                return {"itemName": "lamp", "mode": mode, "byAlias": by_alias}

        class Colour(enum.StrEnum):
            RED = "red"

        cycle = []
        cycle.append(cycle)
        deep = []
        for _ in range(200_000):
            deep = [deep]

        VALUES = {
            "object": object(), "nan": math.nan, "infinity": [math.inf], "cycle": cycle, "deep": deep,
            "bytes": b"x", "set": {1}, "tuple key": {(1, 2): 3}, "class": Item,
            "dataclass": Item("lamp", [Item("bulb", [])]), "model": {"models": [Model()]}, "enum": Colour.RED,
            "tuple": (1, 2), "int keys": {1: 2}, "nothing": None, "big": 2**4000, "too many digits": 10**5000,
            "text": "ä€𝄞 \\0 \\ud800 \\u2028 \\x7f",
        }

        async def automation(page, params):
            return VALUES[params["what"]]
    """,
    "api/returns_much.py": """
        async def automation(page, params):
            return "x" * (params["size"] - 2)
    """,
    "api/promises_much.py": """
        from intuned_runtime import extend_payload

        async def automation(page, params):
            extend_payload({"api": "echo", "parameters": {"much": "x" * params["size"]}})
    """,
}


async def test_parameters_are_given_as_a_plain_dict(quiet: Run) -> None:
    report = await quiet("arguments", {"item": "lamp", "n": 3})
    assert value(report) == [2, "Page", [{"item": "lamp", "n": 3}], {}]
    assert report.status is AttemptStatus.COMPLETED
    assert report.error is None
    assert report.extended_payloads is None
    assert report.browser_version
    assert report.started_at <= report.ended_at


async def test_without_parameters_the_page_is_the_only_argument(quiet: Run) -> None:
    assert value(await quiet("arguments", None)) == [1, "Page", [], {}]
    assert value(await quiet("arguments", {})) == [2, "Page", [{}], {}]


@pytest.mark.parametrize(("api", "answer"), [("shop/lists/01-all-items", "all items"), ("2024-report", "report")])
async def test_names_may_be_nested_and_hold_hyphens_and_leading_digits(quiet: Run, api: str, answer: str) -> None:
    assert value(await quiet(api)) == answer


async def test_without_an_automation_create_is_called_and_without_create_check(quiet: Run) -> None:
    assert value(await quiet("creates", {})) == "create"
    assert value(await quiet("checks", None)) == "check"


PLACES = [
    {"text": "ä€𝄞\u2028\x00\x7f\ud800", "\udfff": [None, True, -0.0, 1e300, 2**70]},
    {"nested": {"a": [[[{"b": {}}]]]}},
    {"much": "ü" * 300_000},
]


@pytest.mark.parametrize("parameters", PLACES, ids=["unicode", "nested", "large"])
async def test_parameters_and_result_come_through_unchanged(quiet: Run, parameters: Any) -> None:
    report = await quiet("echo", parameters)
    assert value(report) == parameters
    assert (report.result or "").isascii()


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("dataclass", {"name": "lamp", "parts": [{"name": "bulb", "parts": []}]}),
        ("model", {"models": [{"itemName": "lamp", "mode": "json", "byAlias": True}]}),
        ("enum", "red"),
        ("tuple", [1, 2]),
        ("int keys", {"1": 2}),
        ("nothing", None),
        ("big", 2**4000),
        ("text", "ä€𝄞 \0 \ud800 \u2028 \x7f"),
    ],
)
async def test_what_has_a_json_form_is_returned_in_it(quiet: Run, what: str, expected: Any) -> None:
    assert value(await quiet("returns", {"what": what})) == expected


@pytest.mark.parametrize(
    "what", ["object", "nan", "infinity", "cycle", "deep", "bytes", "set", "tuple key", "class", "too many digits"]
)
async def test_what_is_not_json_is_an_error_of_the_automation(quiet: Run, what: str) -> None:
    report = failure(await quiet("returns", {"what": what}))
    assert report.code == ErrorCode.SCRIPT_EXECUTION_EXCEPTION
    assert report.message.startswith("result")
    assert report.final


async def test_a_result_of_exactly_2_mib_is_returned(quiet: Run) -> None:
    report = await quiet("returns_much", {"size": LIMIT})
    assert value(report) == "x" * (LIMIT - 2)
    assert len(report.result or "") == LIMIT


async def test_a_result_of_one_byte_more_is_too_big_for_good(quiet: Run) -> None:
    report = failure(await quiet("returns_much", {"size": LIMIT + 1}))
    assert report.code == ErrorCode.RESULT_TOO_BIG
    assert report.error.category == "execution"
    assert report.details["sizeInBytes"] == LIMIT + 1
    assert report.details["maxSizeInBytes"] == LIMIT
    assert report.final


async def test_extended_payloads_have_the_same_limit(quiet: Run) -> None:
    report = failure(await quiet("promises_much", {"size": LIMIT}))
    assert report.code == ErrorCode.RESULT_TOO_BIG
    assert "extend_payload" in report.message
    assert report.final


async def test_an_exception_has_its_name_its_message_and_the_project_s_stack(quiet: Run) -> None:
    report = failure(await quiet("raises", {}))
    assert not report.final
    assert report.error.category == "execution"
    assert report.code == ErrorCode.SCRIPT_EXECUTION_EXCEPTION
    assert report.message == "LookupError: no price for none (shop/prices.py:3)"
    assert report.name == "LookupError"
    first, *_ = report.stack.splitlines()
    assert first == '  File "api/raises.py", line 5, in automation'
    assert 'File "shop/prices.py", line 3, in price' in report.stack
    assert report.stack.endswith("LookupError: no price for none\n")


async def test_an_exception_without_a_message_is_told_by_its_name(quiet: Run) -> None:
    report = failure(await quiet("raises_without_words"))
    assert report.message == "KeyboardInterrupt (api/raises_without_words.py:3)"
    assert not report.final


async def test_an_exception_whose_message_cannot_be_had_is_told_by_its_name(quiet: Run) -> None:
    report = failure(await quiet("raises_the_unspeakable"))
    assert (report.name, report.message) == ("Unspeakable", "Unspeakable (api/raises_the_unspeakable.py:7)")


@pytest.mark.parametrize(
    "message", ["lone \ud800 surrogate", "nul \x00", "𝄞 \u2028", "x" * 100_000, "\udc80" * 100_000], ids=range(5)
)
async def test_any_message_of_an_exception_comes_through_as_valid_text(quiet: Run, message: str) -> None:
    report = failure(await quiet("raises_what_it_is_told", json.dumps(message)))
    assert report.name == "ValueError"
    assert len(report.message) <= MESSAGE_LIMIT
    assert len(report.stack) <= STACK_LIMIT
    assert "raises_what_it_is_told.py" in report.stack
    assert RunError.model_validate_json(report.error.model_dump_json()) == report.error
    assert report.message.startswith(f"ValueError: {message.encode(errors='backslashreplace').decode()[:3]}")
    assert " (api/raises_what_it_is_told.py:3)" in report.message


async def test_a_bottomless_recursion_is_an_exception_like_others(quiet: Run) -> None:
    report = failure(await quiet("recurses"))
    assert report.name == "RecursionError"


async def test_an_automation_that_cancels_itself_has_failed(quiet: Run) -> None:
    report = failure(await quiet("cancels_itself"))
    assert "canceled by its own code" in report.message


async def test_a_non_retryable_error_is_final(quiet: Run) -> None:
    report = failure(await quiet("gives_up"))
    assert report.final
    assert report.code == ErrorCode.SCRIPT_EXECUTION_EXCEPTION
    assert (report.message, report.name) == ("SoldOutError: sold out (api/gives_up.py:7)", "SoldOutError")
    assert report.final


@pytest.mark.parametrize(("api", "code", "line"), [("exits", "'enough'", 5), ("exits_at_import", "3", 1)])
async def test_sys_exit_is_a_failure_and_the_machine_goes_on(quiet: Run, api: str, code: str, line: int) -> None:
    report = failure(await quiet(api))
    assert not report.final
    assert report.message == f"The automation called sys.exit({code}). (api/{api}.py:{line})"
    assert value(await quiet("echo", {"still": "there"})) == {"still": "there"}


async def test_what_a_module_raises_as_it_is_imported_may_be_tried_again(quiet: Run) -> None:
    report = failure(await quiet("fails_at_import"))
    assert report.code == ErrorCode.SCRIPT_EXECUTION_EXCEPTION
    assert report.name == "ZeroDivisionError"
    assert report.message == "ZeroDivisionError: division by zero (api/fails_at_import.py:1)"
    assert not report.final


async def test_a_missing_module_is_to_be_declared(quiet: Run) -> None:
    report = failure(await quiet("imports_what_is_missing_late"))
    assert report.message == (
        "ModuleNotFoundError: No module named 'nowhere_to_be_found' (api/imports_what_is_missing_late.py:3)\n"
        "It is neither a file of the project nor in a package that it declares. "
        "Declare its package in requirements.txt."
    )
    assert report.final
    assert "Declare" not in failure(await quiet("missing/too")).message, "the project has others of its package"


@pytest.mark.parametrize(
    ("api", "name", "message"),
    [
        ("missing", "APINotFoundError", "api/missing.py is not in the project."),
        ("missing/too", "ModuleNotFoundError", "ModuleNotFoundError: No module named 'api.missing'"),
        ("imports_what_is_missing", "ModuleNotFoundError", "'nowhere_to_be_found' (api/imports_what_is_missing.py:1)"),
        ("imports_what_is_broken", "SyntaxError", "broken_helper.py, line 1) (api/imports_what_is_broken.py:1)"),
        ("empty", "APINotFoundError", "has no function `automation`"),
        ("not_async", "InvalidAPIError", "write `async def automation`"),
        ("broken", "SyntaxError", "api/broken.py does not parse"),
    ],
)
async def test_what_no_attempt_can_mend_is_final(quiet: Run, api: str, name: str, message: str) -> None:
    report = failure(await quiet(api))
    assert report.code == ErrorCode.SCRIPT_EXECUTION_EXCEPTION
    assert report.name == name
    assert message in report.message
    assert report.final
