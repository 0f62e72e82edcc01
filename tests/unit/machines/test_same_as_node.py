"""What user code may do in Python, by the table that tests/node/same_as_python.js reads for JavaScript."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from callboard_runtime import HandoffDeclined, RetryLater, request_input
from callboard_runtime.failures import ResultTooBigError, as_message
from callboard_runtime.results import NotJsonError, to_json
from intuned_runtime import IntunedContext, extend_payload, persistent_store, set_attribute

TABLE: dict[str, Any] = json.loads((Path(__file__).parents[2] / "node/same_as_python.json").read_text())


def _real(value: Any, around: Any = None) -> Any:
    """Return a value of the table with what JSON cannot say in it: objects with a `$`."""
    if isinstance(value, list):
        return [_real(item, value) for item in value]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(value, dict):
        return value
    match value:
        case {"$": "cycle"}:
            return around
        case {"$": "nested", "levels": levels}:
            nested: list[Any] = []
            for _ in range(levels - 1):
                nested = [nested]
            return nested
        case {"$": "text" | "letters", "length": length}:
            return "a" * length
        case {"$": "emoji", "length": length}:
            return "😀" * length
        case {"$": "texts", "length": length}:
            return ["x"] * length
        case {"$": number}:
            return float(number)
        case _:
            made: dict[str, Any] = {}
            made.update({key: _real(item, made) for key, item in value.items()})  # pyright: ignore[reportUnknownVariableType]
            return made


def _allowed_or(row: dict[str, Any], error: type[Exception]) -> AbstractContextManager[Any]:
    return nullcontext() if row["allowed"] else pytest.raises(error)


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> IntunedContext:
    async def ask(_operation: str, **_arguments: Any) -> None:
        return None

    context = IntunedContext(ask=ask)
    monkeypatch.setattr(IntunedContext, "_current", context)
    return context


@pytest.mark.parametrize("row", TABLE["results"], ids=lambda row: row["text"])
def test_values_have_the_same_text(row: dict[str, Any]) -> None:
    assert to_json(row["value"]) == row["text"]


@pytest.mark.parametrize("row", TABLE["refused"], ids=lambda row: row["begins"])
def test_the_same_values_are_refused_by_their_paths(row: dict[str, Any]) -> None:
    with pytest.raises(NotJsonError) as refused:
        to_json(_real(row["value"]))
    assert str(refused.value).startswith(row["begins"])
    assert as_message(refused.value)["kind"] == "structural"


@pytest.mark.parametrize("row", TABLE["sizes"], ids=lambda row: row["size"])
def test_results_have_the_same_limit(row: dict[str, Any]) -> None:
    if row["allowed"]:
        assert len(to_json(_real(row["value"]))) == row["size"]
        return
    with pytest.raises(ResultTooBigError) as refused:
        to_json(_real(row["value"]))
    assert as_message(refused.value) == TABLE["tooBig"]


@pytest.mark.parametrize("row", TABLE["attributes"], ids=str)
def test_the_same_attributes_are_allowed(row: dict[str, Any], context: IntunedContext) -> None:
    with _allowed_or(row, ValueError):
        set_attribute(_real(row["key"]), _real(row["value"]))
    assert bool(context.attributes) is row["allowed"]


@pytest.mark.usefixtures("context")
@pytest.mark.parametrize("row", TABLE["persistentKeys"], ids=str)
async def test_the_same_keys_of_the_store_are_allowed(row: dict[str, Any]) -> None:
    with _allowed_or(row, ValueError):
        await persistent_store.get(_real(row["key"]))
    with _allowed_or(row, ValueError):
        await persistent_store.set(_real(row["key"]), 1)


@pytest.mark.usefixtures("context")
@pytest.mark.parametrize("row", TABLE["persistentValues"], ids=str)
async def test_the_same_values_are_stored(row: dict[str, Any]) -> None:
    with _allowed_or(row, ValueError):
        await persistent_store.set(row["key"], _real(row["value"]))


@pytest.mark.parametrize("row", TABLE["payloads"], ids=str)
def test_the_same_payloads_are_taken(row: dict[str, Any], context: IntunedContext) -> None:
    if "kept" in row:
        extend_payload(row["payload"])
        assert context.extended_payloads == [row["kept"]]
    else:
        with pytest.raises(TypeError, match=r"^A payload is "):
            extend_payload(row["payload"])


@pytest.mark.parametrize("row", TABLE["retryLater"], ids=str)
def test_the_same_waits_are_taken(row: dict[str, Any]) -> None:
    with _allowed_or(row, ValueError):
        assert RetryLater(_real(row["seconds"])).seconds == row["seconds"]


@pytest.mark.parametrize("row", TABLE["questions"], ids=str)
async def test_the_same_questions_are_asked(row: dict[str, Any], context: IntunedContext) -> None:
    asked: list[dict[str, Any]] = []

    async def ask(_operation: str, **arguments: Any) -> str:
        asked.append(arguments)
        return json.dumps({"status": "declined", "reason": None})

    context.ask = ask
    options = {name: _real(value) for name, value in row.items() if name not in {"text", "seconds"}}
    with pytest.raises(HandoffDeclined if "seconds" in row else ValueError):
        await request_input(_real(row["text"]), **options)
    assert [each["timeout"] for each in asked] == ([row["seconds"]] if "seconds" in row else [])
