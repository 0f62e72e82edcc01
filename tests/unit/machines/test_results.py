"""What user code returns, as JSON text; the rest is tried in a Machine."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import json
import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from callboard_runtime.failures import ResultTooBigError, as_message
from callboard_runtime.project_code import result_as_json
from callboard_runtime.results import LIMIT, NotJsonError, to_json
from hypothesis import given
from hypothesis import strategies as st

TEXT = st.text(st.characters())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)
NOT_JSON = st.sampled_from([math.nan, math.inf, -math.inf, object(), b"", {1}, 1j, int, {(): 1}, {b"": 1}])


@given(value=JSON)
def test_json_comes_back_as_it_was(value: Any) -> None:
    text = to_json(value)
    assert text.isascii()
    assert json.loads(text) == value


@given(inner=NOT_JSON, around=st.lists(st.sampled_from(["list", "dict"]), max_size=5))
def test_what_is_not_json_is_refused_wherever_it_lies(inner: Any, around: list[str]) -> None:
    path = ""
    for kind in around:
        inner = [inner] if kind == "list" else {"x": inner}
        path = ("[0]" if kind == "list" else ".x") + path
    with pytest.raises(NotJsonError) as refused:
        to_json(inner, path="thing")
    assert str(refused.value).startswith(f"thing{path}: ")


async def _title() -> str:
    return ""


@dataclasses.dataclass
class Item:
    when: object


class Model:
    """As pydantic's, which a project may have."""

    def model_dump(self, *, mode: str, by_alias: bool) -> dict[str, Any]:
        return {"itemName": "lamp", "mode": mode, "byAlias": by_alias}


class Colour(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (Item([Item(1)]), {"when": [{"when": 1}]}),
        ({"models": [Model()]}, {"models": [{"itemName": "lamp", "mode": "json", "byAlias": True}]}),
        (Colour.RED, "red"),
        ((1, 2), [1, 2]),
        ({1: 2}, {"1": 2}),
        (2**4000, 2**4000),
    ],
    ids=["dataclass", "model", "enum", "tuple", "integer as key", "large number"],
)
def test_what_has_a_json_form_is_returned_in_it(value: Any, form: Any) -> None:
    assert json.loads(to_json(value)) == form


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (
            {"items": [1, 2, 3, Item(datetime(2026, 1, 1, tzinfo=UTC))]},
            "result.items[3].when: a datetime has no JSON form; return .isoformat()",
        ),
        ([timedelta(1)], "result[0]: a timedelta has no JSON form; return .total_seconds()"),
        ({"a b": {1}}, 'result["a b"]: a set has no JSON form; return list(…)'),
        ({7: b""}, 'result["7"]: a bytes has no JSON form; return .decode() or base64 text'),
        (Decimal(1), "result: a Decimal has no JSON form; return str(…)"),
        (object(), "result: an object has no JSON form"),
        ({"price": math.nan}, "result.price: JSON has no nan; return None"),
        ({"x": {(1, 2): 3}}, "result.x: a key of it is a tuple; keys are text"),
        (10**5000, "result has no JSON form: Exceeds the limit (4300 digits) for integer string conversion"),
    ],
    ids=range(9),
)
def test_what_is_not_json_is_told_by_its_path_with_what_to_return_instead(value: Any, told: str) -> None:
    with pytest.raises(NotJsonError) as refused:
        to_json(value)
    assert str(refused.value).startswith(told)
    assert as_message(refused.value)["kind"] == "structural"


def test_a_coroutine_asks_about_a_forgotten_await() -> None:
    with contextlib.closing(_title()) as title, pytest.raises(NotJsonError) as refused:
        to_json({"title": title})
    assert str(refused.value) == "result.title: a coroutine has no JSON form; is an `await` missing?"


def test_cycles_are_told() -> None:
    item = Item(None)
    item.when = {"again": item}
    with pytest.raises(NotJsonError) as refused:
        to_json([item])
    assert str(refused.value) == "result[0].when.again: it contains itself, which JSON cannot hold; leave it out"


@pytest.mark.parametrize("levels", [201, 9_990, 200_000])
def test_what_is_nested_too_deeply_for_readers_is_refused(levels: int) -> None:
    deep: Any = "[" * 300
    for level in range(levels):
        deep = {"a": deep} if level % 2 else [deep]
    with pytest.raises(NotJsonError, match=r"^result is nested too deeply: it may have 200 levels of"):
        to_json(deep)


def test_a_result_may_have_200_levels_and_any_number_of_lists() -> None:
    deep: Any = '"' + "[" * 300
    for _ in range(199):
        deep = [deep, [], {}]
    assert json.loads(to_json(deep)) == deep


@pytest.mark.parametrize(("letter", "size"), [("x", 1), ("ä", 6), ("𝄞", 12), ("\ud800", 6), ("\0", 6), ('"', 2)])
def test_the_limit_is_in_bytes_of_escaped_json(letter: str, size: int) -> None:
    fits, rest = divmod(LIMIT - 2, size)
    assert len(to_json(letter * fits + "x" * rest)) == LIMIT
    with pytest.raises(ResultTooBigError) as raised:
        to_json(letter * fits + "x" * (rest + 1))
    assert as_message(raised.value)["details"] == {"sizeInBytes": LIMIT + 1, "maxSizeInBytes": LIMIT}


def test_a_result_that_is_too_big_is_left_as_a_file_and_its_error_names_it(tmp_path: Path) -> None:
    for name in ("result.json", "result-2.json"):
        with pytest.raises(ResultTooBigError, match=rf"It is left as the file {name}\.$"):
            result_as_json("api", "ä" * LIMIT, tmp_path)
        assert json.loads((tmp_path / "output" / name).read_text()) == "ä" * LIMIT
    (tmp_path / "other").mkdir()
    (tmp_path / "other/output").touch()
    with pytest.raises(ResultTooBigError, match="It could not be left as a file: File exists"):
        result_as_json("api", "x" * LIMIT, tmp_path / "other")
