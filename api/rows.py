"""Rows: a result as a table, answered as JSON, JSON lines or CSV (docs/contract.md, section 13.7).

Threads write them, some at a time. The columns are known only once all rows were seen, so the source of the rows is
read twice.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import batched
from typing import Any, cast

from starlette.responses import StreamingResponse

from callboard.schemas.errors import NotATable
from callboard.schemas.rest.rows import RowsBody, RowsFormat, RowsQuery
from callboard.schemas.workflow.base import clip

Row = dict[str, Any]
Tables = Callable[[], AsyncIterator[list[Row] | None]]
"""Returns the rows of each result in turn; None of one that is no table."""

ROWS_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"model": RowsBody, "description": "The rows", "content": {"application/jsonl": {}, "text/csv": {}}}
}
"""What OpenAPI says of the answers."""

_MEDIA_TYPES: dict[RowsFormat, str] = {
    "json": "application/json",
    "jsonl": "application/jsonl",
    "csv": "text/csv; charset=utf-8",
}
_AT_ONCE = 500
"""How many rows are written at a time."""
_MAX_COLUMNS = 1_000
"""Most columns of a table: a CSV has a cell for each of them in each row."""
_SHOWN_ROWS = 200
"""How many rows a page shows."""
_SHOWN_COLUMNS = 50
_SHOWN_TEXT = 300
"""Characters of a cell that a page shows."""
_EXECUTED = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a text begins with that a spreadsheet would execute. Some take the full-width forms of the signs for these."""


def find_rows(result: Any) -> list[Row] | None:
    """Return the rows of a result that is a list of objects, or an object with exactly one such list; else None."""
    if isinstance(result, dict):
        lists = [found for value in cast("Row", result).values() if (found := _as_rows(value)) is not None]
        return lists[0] if len(lists) == 1 else None
    return _as_rows(result)


def _as_rows(value: object) -> list[Row] | None:
    if not isinstance(value, list):
        return None
    items = cast("list[Any]", value)
    return items if all(isinstance(item, dict) for item in items) else None


async def rows_response(query: RowsQuery, tables: Tables, name: str, leading: Sequence[str] = ()) -> StreamingResponse:
    """Return the response with all rows.

    Args:
        query: How they are written.
        tables: Gives them.
        name: The id of what they are of.
        leading: Columns that come first, also without any rows.

    Raises:
        NotATable: There is a result, and none is a table; or there are too many columns.
    """
    columns, found, others = dict.fromkeys(leading), 0, 0
    async for rows in tables():
        if rows is None:
            others += 1
            continue
        found += 1
        await asyncio.to_thread(_add_columns, columns, rows)
    if others and not found:
        raise NotATable("What was returned is no table: neither a list of objects, nor an object with one such list.")
    headers = {"content-disposition": f'attachment; filename="rows_{name}.{query.format}"'}
    return StreamingResponse(
        _stream(query, list(columns), tables),
        media_type=_MEDIA_TYPES[query.format],
        headers={} if query.format == "json" else headers,
    )


@dataclass(frozen=True)
class TableView:
    """What a page shows of a table."""

    columns: tuple[str, ...]
    """The first columns."""
    column_count: int
    rows: tuple[tuple[str, ...], ...]
    """The cells of the first rows that match, as text."""
    matching: int
    """The number of rows that match the search."""
    total: int
    search: str
    sort: int
    """The number of the column, from 1, by which the rows are sorted; 0 if they are in their own order."""
    descending: bool


def view_table(rows: Sequence[Row], *, search: str = "", sort: int = 0, descending: bool = False) -> TableView:
    """Return what a page shows of these rows: those in which a cell has the text `search`, sorted by column `sort`."""
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    found = list(rows)
    if wanted := search.casefold():
        found = [row for row in rows if any(wanted in _cell(value, raw=True).casefold() for value in row.values())]
    if 1 <= sort <= len(columns):
        name = columns[sort - 1]
        with_value = [row for row in found if row.get(name) is not None]
        without = [row for row in found if row.get(name) is None]  # they come last in both directions
        found = sorted(with_value, key=lambda row: _sort_key(row[name]), reverse=descending) + without
    shown = columns[:_SHOWN_COLUMNS]
    cells = (tuple(clip(_cell(row.get(name), raw=True), _SHOWN_TEXT) for name in shown) for row in found[:_SHOWN_ROWS])
    return TableView(shown, len(columns), tuple(cells), len(found), len(rows), search, sort, descending)


def _sort_key(value: Any) -> tuple[bool, float, str]:
    """Return a key by which numbers come before texts."""
    if isinstance(value, int | float):
        return False, value, ""
    return True, 0, _cell(value, raw=True).casefold()


def _add_columns(columns: dict[str, None], rows: Iterable[Row]) -> None:
    for row in rows:
        columns.update(dict.fromkeys(row))
        if len(columns) > _MAX_COLUMNS:
            raise NotATable(f"What was returned is no table: it has more than {_MAX_COLUMNS:,} columns.")


async def _stream(query: RowsQuery, columns: Sequence[str], tables: Tables) -> AsyncGenerator[bytes]:
    if query.format == "json":
        yield b'{"columns":%s,"rows":[' % _dump(columns)
    elif query.format == "csv" and columns:
        yield _csv([[_text(column, raw=query.raw) for column in columns]])
    separator = b""
    async for rows in tables():
        for some in batched(rows or (), _AT_ONCE):
            written = await asyncio.to_thread(_write, query, columns, some)
            yield separator + written
            separator = b"," if query.format == "json" else b""
    if query.format == "json":
        yield b"]}"


def _write(query: RowsQuery, columns: Sequence[str], rows: Iterable[Row]) -> bytes:
    if query.format == "csv":
        return _csv([_cell(row.get(column), raw=query.raw) for column in columns] for row in rows)
    lines = (_dump({name: _scalar(value) for name, value in row.items()}) for row in rows)
    return b",".join(lines) if query.format == "json" else b"".join(line + b"\n" for line in lines)


def _csv(records: Iterable[list[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(records)
    return text.getvalue().encode(errors="backslashreplace")  # half a surrogate pair is no UTF-8


def _cell(value: Any, *, raw: bool) -> str:
    if isinstance(value, str):
        return _text(value, raw=raw)
    return "" if value is None else _json_text(value)


def _text(text: str, *, raw: bool) -> str:
    return f"'{text}" if text.startswith(_EXECUTED) and not raw else text


def _scalar(value: Any) -> Any:
    return _json_text(value) if isinstance(value, list | dict) else value


def _json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")
