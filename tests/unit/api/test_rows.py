"""Results as tables: what is one, and how its rows are written."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.rows import Row, find_rows, rows_response
from callboard.schemas.errors import NotATable
from callboard.schemas.rest.rows import RowsFormat, RowsQuery


async def written(
    *tables: list[Row] | None, form: RowsFormat = "json", raw: bool = False, leading: tuple[str, ...] = ()
) -> str:
    async def each() -> AsyncIterator[list[Row] | None]:
        for rows in tables:
            yield rows

    response = await rows_response(RowsQuery(format=form, raw=raw), each, "run-1", leading)
    parts = [part async for part in response.body_iterator]
    return b"".join(part if isinstance(part, bytes) else str(part).encode() for part in parts).decode()


@pytest.mark.parametrize(
    ("result", "rows"),
    [
        ([{"a": 1}, {}], [{"a": 1}, {}]),
        ([], []),
        ({"items": [{"a": 1}], "total": 1, "words": ["x"]}, [{"a": 1}]),
        ({"items": []}, []),
        *((result, None) for result in (None, 3, "x", {}, {"a": {"b": [{}]}}, [1], [{}, 1], [[{}]])),
        ({"one": [{}], "two": [{}]}, None),
    ],
)
def test_a_table_is_a_list_of_objects_or_an_object_with_one_such_list(result: Any, rows: list[Row] | None):
    assert find_rows(result) == rows


async def test_columns_come_in_the_order_of_first_sight_and_nested_values_are_json_text():
    rows = [{"b": 1, "a": None}, {"c": {"ü": [1, "x"]}, "b": True}]
    assert json.loads(await written(rows)) == {
        "columns": ["b", "a", "c"],
        "rows": [{"b": 1, "a": None}, {"c": '{"ü":[1,"x"]}', "b": True}],
    }
    assert [json.loads(line) for line in (await written(rows, form="jsonl")).splitlines()] == [
        {"b": 1, "a": None},
        {"c": '{"ü":[1,"x"]}', "b": True},
    ]
    assert await written(rows, form="csv") == 'b,a,c\r\n1,,\r\ntrue,,"{""ü"":[1,""x""]}"\r\n'


async def test_a_table_without_rows_is_one():
    assert await written([]) == '{"columns":[],"rows":[]}'
    assert await written([], form="jsonl") == await written([], form="csv") == ""
    assert await written([], form="csv", leading=("_runId",)) == "_runId\r\n"


async def test_many_rows_of_several_tables_are_one_table():
    tables = [[{"n": number} for number in range(first, first + 700)] for first in (0, 700)]
    assert json.loads(await written(tables[0], None, tables[1]))["rows"] == [{"n": number} for number in range(1400)]
    assert (await written(*tables, form="csv")).splitlines() == ["n", *map(str, range(1400))]


async def test_what_a_spreadsheet_would_execute_gets_an_apostrophe():
    executed = {f"{sign}{number}": f"{sign}1+1" for number, sign in enumerate("=+-@\t\r\n＝＋－＠")}
    others = {"a": "b=1", "c": -5, "d": ["=1"], "e": "'=1"}
    shown = await written([executed | others], form="csv")
    assert list(csv.reader(io.StringIO(shown, newline=""))) == [
        [*(f"'{name}" for name in executed), *others],
        [*(f"'{text}" for text in executed.values()), "b=1", "-5", '["=1"]', "'=1"],
    ]
    plain = await written([executed], form="csv", raw=True)
    assert list(csv.reader(io.StringIO(plain, newline=""))) == [[*executed], [*executed.values()]]


@given(st.lists(st.dictionaries(st.text(min_size=1), st.text(), min_size=1), min_size=1))
async def test_every_text_comes_back_from_csv_as_it_was(rows: list[dict[str, str]]):
    text = await written(rows, form="csv", raw=True)
    names, *records = csv.reader(io.StringIO(text, newline=""))
    assert [dict(zip(names, record, strict=True)) for record in records] == [
        {name: row.get(name, "") for name in names} for row in rows
    ]


async def test_half_a_surrogate_pair_is_escaped():
    assert await written([{"a": "\ud800"}], form="csv") == "a\r\n\\ud800\r\n"
    assert json.loads(await written([{"a": "\ud800"}]))["rows"] == [{"a": "\ud800"}]


async def test_what_is_no_table_and_too_many_columns_are_refused():
    with pytest.raises(NotATable, match="no table"):
        await written(None)
    with pytest.raises(NotATable, match="1,000 columns"):
        await written([{str(number): 1 for number in range(1001)}])
