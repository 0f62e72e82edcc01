"""What a process of user code may say, and what is taken for no message."""

from __future__ import annotations

import json
from typing import Any

import pytest
from callboard_runtime.handoffs import check_question

from callboard.machines.runner.conversation import checked_done, checked_evidence, checked_request, refusal

REFUSED = (TypeError, ValueError, KeyError, AttributeError, RecursionError)
DONE: dict[str, Any] = {
    "result": "1",
    "extendedPayloads": None,
    "attributes": {"a": 1},
    "imported": [],
}
ERROR: dict[str, Any] = {"kind": "user", "name": "ValueError", "message": "m", "stack": "s"}
LATER: dict[str, Any] = {**ERROR, "kind": "retry-later", "retryAfter": 5}
MANY_OBJECTS = json.dumps([{}] * 600_000)


def deep(depth: int = 9_990) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "changed",
    [
        {"attributes": {"a": deep()}},
        {"attributes": {"a": {"b": 1}}},
        {"attributes": {f"a{number}": "x" * 255 for number in range(64)} | {"b": ["x" * 255] * 20}},
        {"attributes": {f"a{number}": 1 for number in range(65)}},
        {"attributes": [1]},
        {"result": MANY_OBJECTS},
        {"result": "[" * 200_000 + "]" * 200_000},
        {"result": "[" * 201 + "]" * 201},
        {"result": '1, "error": null'},
        {"result": '"ä"'},
        {"result": 1},
        {"extendedPayloads": MANY_OBJECTS},
        {"extendedPayloads": "[{}]"},
        {"extendedPayloads": '[{"api": "x", "parameters": []}]'},
        {"error": {**ERROR, "kind": "over-limit", "limit": "memory"}},
        {"error": {**ERROR, "message": ["x"]}},
        {"error": {**ERROR, "kind": "too-big", "details": {"sizeInBytes": [], "maxSizeInBytes": 1}}},
        *({"error": {**LATER, "retryAfter": seconds}} for seconds in (-1, 86_401, float("nan"), "5", True, None)),
        {"error": {**ERROR, "kind": "retry-later"}},
        {"imported": ["x" * 201]},
        {"unkept": deep()},
    ],
)
def test_an_end_of_any_other_shape_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(REFUSED):
        checked_done(DONE | changed)


def test_an_end_says_what_the_worker_is_told_and_no_more() -> None:
    assert checked_done(DONE) == DONE
    error = {**ERROR, "kind": "too-big", "details": {"sizeInBytes": 3, "maxSizeInBytes": 2}}
    assert checked_done(DONE | {"error": error})["error"] == error
    assert checked_done(DONE | {"error": LATER})["error"] == LATER
    assert checked_done(DONE | {"error": {**ERROR, "retryAfter": 5}})["error"] == ERROR
    told = checked_done(DONE | {"error": {**ERROR, "message": "m" * 10**6, "stack": "s" * 10**6, "also": deep()}})
    assert {name: len(text) for name, text in told["error"].items()} == {
        "kind": 4,
        "name": 10,
        "message": 4_000,
        "stack": 16_000,
    }
    saved = {"pageUrl": "data:" + "x" * 10**6, "missing": {"trace": "t" * 10**6, "x" * 10**6: "y"}, "also": deep()}
    checked = checked_evidence(saved)
    assert checked is not None
    assert len(checked["pageUrl"]) + len(checked["missing"].pop("trace")) == 20_000
    assert checked["missing"] == {}


def asked(operation: Any, number: Any = 1, **arguments: Any) -> dict[str, Any]:
    return {"number": number, "operation": operation, "arguments": arguments}


@pytest.mark.parametrize(
    "asked_for",
    [
        asked("persistent_set", key="k", value="x" * 1024 * 1024),
        asked("persistent_set", key="k", value=[{}]),
        asked("persistent_set", key="k", value='"ä"'),
        asked("persistent_get", key="\U0001f600" * 300_000),
        asked("persistent_get", key=deep()),
        asked("persistent_get", key="k", also="x"),
        asked("auth_session_parameters", key="k"),
        asked("persistent_get"),
        asked("x", key="k"),
        asked(["x"], key="k"),
        asked("persistent_get", deep(), key="k"),
    ],
)
def test_a_request_that_is_large_or_unknown_is_refused(asked_for: dict[str, Any]) -> None:
    with pytest.raises(REFUSED):
        checked_request(asked_for)


def test_requests_of_the_runtime_are_taken() -> None:
    for request in (
        asked("persistent_get", key="\ud800"),
        asked("persistent_set", key="k", value="x" * (1024 * 1024 - 1)),
        asked("auth_session_parameters"),
    ):
        assert checked_request(request) is request


QUESTION = {
    "question": "1",
    "instructions": "The code, bitte schön",
    "name": "code",
    "pattern": r"\d{6}",
    "masked": "true",
    "timeout": "300",
    "code_to": "",
    "since": "",
}


def asks(**changed: Any) -> dict[str, Any]:
    return {"operation": "request_input", "number": 1, "arguments": {**QUESTION, **changed}}


def test_a_question_is_taken_as_the_runtime_asks_it() -> None:
    assert checked_request(asks()) == asks()
    assert checked_request(asks(pattern="", masked="false", timeout="1800"))
    assert checked_request(asks(code_to="+4917012345", since="2026-12-01T10:00:00.000Z"))


def test_a_handover_is_taken_as_the_runtime_asks_for_it_and_no_other_one() -> None:
    arguments = {"question": "1", "instructions": "Log in", "timeout": "300", "page": "page@1"}
    handed_over = {"operation": "hand_over", "number": 1, "arguments": arguments}
    assert (checked_request(handed_over), refusal(handed_over)) == (handed_over, None)
    for changed in ({"instructions": ""}, {"timeout": "nan"}, {"timeout": "43201"}, {"page": "\ud800"}):
        assert refusal({**handed_over, "arguments": {**arguments, **changed}}) is not None
    for changed in ({"page": 1}, {"pattern": "("}):
        with pytest.raises(REFUSED):
            checked_request({**handed_over, "arguments": {**arguments, **changed}})


@pytest.mark.parametrize("number", ["", "x", "1" * 10, "１"])
def test_a_question_is_withdrawn_by_its_number(number: str) -> None:
    request = {"operation": "withdraw", "number": 1, "arguments": {"question": "1"}}
    assert checked_request(request) == request
    with pytest.raises(REFUSED):
        checked_request({**request, "arguments": {"question": number}})


@pytest.mark.parametrize(
    "changed",
    [
        *({"instructions": text} for text in ("", "  ", "x" * 1001, 1, "\ud800")),
        *({"name": name} for name in ("", "1", "a b", "x" * 65, None)),
        *({"pattern": pattern} for pattern in ("(", "x" * 501, ["x"])),
        *({"timeout": time} for time in ("", "0", "-1", "nan", "43201", "1d", "5m", 300)),
        *({"question": number} for number in ("", "x", "1" * 10, "１")),
        {"masked": "perhaps"},
        {"code_to": "x" * 321},
        {"since": "2026-12-01T10:00:00Z"},
        *({"code_to": "x", "since": time} for time in ("2026-12-01T10:00:00", "yesterday", "1")),
        {"more": "x"},
    ],
)
def test_any_other_question_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(REFUSED):
        check_question(checked_request(asks(**changed))["arguments"])
