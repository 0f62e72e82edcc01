"""The payload in the form of a Job: as a table of parameters, as lines, as a file, or as it is."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date
from typing import Any, cast

from api.dashboard.forms import FormFile
from api.dependencies import Services
from api.jobs.definition import items_of_json, items_of_lines
from api.playground.schema_fields import SchemaField, schema_fields
from callboard.projects.job_definition import shown_items
from callboard.projects.manifest import Manifest
from callboard.schemas.errors import BadRequest, PayloadTooLarge
from callboard.schemas.rest.field_errors import field_error
from callboard.schemas.rest.jobs import SHOWN_ITEMS, JobHead, PayloadItem
from callboard.schemas.rest.json_text import MAX_VALUES, parse_json
from callboard.schemas.workflow.job import JobDefinition
from callboard.storage.job_payloads import JobItem, definition_chunks, read_lines, stream_payload

_MOST_ROWS = 100
_MOST_CELLS = 800
"""A form has a thousand fields at most."""
_SHOWN_BYTES = 256 * 1024
"""A payload that has more bytes in the store is not written into the form."""
_NO_COLUMN = frozenset('.[*"\r\n')
"""Characters of paths to fields within others, and those that browsers do not send as they are in names of fields."""
_AS_TEXT = ("text", "date", "email", "url", "password")
"""Controls of texts, whose values are no JSON."""


async def table_columns(services: Services, manifest: Manifest, api: str) -> list[SchemaField]:
    """Return the parameters of an API, as far as its schema names them; those within others are JSON of these."""
    described = await services.input_schemas.get(services.store, manifest.project, manifest.version)
    schema = described.of(api).input_schema
    return [] if schema is None else [each for each in schema_fields(schema) if not set(each.name) & _NO_COLUMN]


def most_rows(columns: Sequence[SchemaField]) -> int:
    """Return how many rows the table of these columns may have."""
    return min(_MOST_ROWS, _MOST_CELLS // max(len(columns), 1))


def cell(row: int, column: str) -> str:
    """Return the name of a field of the table."""
    return f"cell-{row}-{column}"


def count_rows(values: Mapping[str, str], columns: Sequence[SchemaField]) -> int:
    """Return how many rows the form has."""
    text = values.get("rows", "")
    return min(int(text), most_rows(columns)) if re.fullmatch(r"\d{1,3}", text, re.ASCII) else 0


def without_row(values: Mapping[str, str], columns: Sequence[SchemaField], row: int) -> dict[str, str]:
    """Return the values of the form without a row of its table."""
    count = count_rows(values, columns)
    kept = {name: value for name, value in values.items() if not name.startswith("cell-")}
    for to, at in enumerate(each for each in range(count) if each != row):
        kept |= {cell(to, column.name): values.get(cell(at, column.name), "") for column in columns}
    return kept | {"rows": str(max(count - 1, 0))}


async def item_values(services: Services, manifest: Manifest, definition: JobDefinition) -> dict[str, str]:
    """Return the values of the form for the payload of a Job: a table if that says all of it, else lines.

    Of a long one, there are none: it stays as it is, unless the form says otherwise. Raises StoreError.
    """
    api = next(iter(manifest.apis), "")
    if definition.payload_count > SHOWN_ITEMS:
        return {"source": "kept", "api": api}
    stored = await read_lines(services.store, definition_chunks(definition), 0, definition.payload_count)
    if sum(map(len, stored)) > _SHOWN_BYTES:
        return {"source": "kept", "api": api}
    items = shown_items([JobItem.from_line(line) for line in stored])
    lines = "\n".join(json.dumps(item, ensure_ascii=False) for item in items)
    api = items[0]["apiName"] if items else api
    columns = await table_columns(services, manifest, api)
    values = {"source": "lines", "api": api, "lines": lines}
    rows = _rows(items, api, columns) if columns and len(items) <= most_rows(columns) else None
    return values if rows is None else {**values, "source": "table", "rows": str(len(items)), **rows}


async def new_item_values(services: Services, manifest: Manifest, api: str | None) -> dict[str, str]:
    """Return the values of the form of a new Job: a row of the table, or a line where the API has no schema."""
    api = api if api in manifest.apis else next(iter(manifest.apis), "")
    line = json.dumps({"apiName": api, "parameters": {}}, ensure_ascii=False)
    source = "table" if await table_columns(services, manifest, api) else "lines"
    return {"source": source, "api": api, "rows": "1", "lines": line}


def read_payload(
    services: Services,
    manifest: Manifest,
    head: JobHead,
    values: Mapping[str, str],
    file: FormFile | None,
    columns: Sequence[SchemaField],
    known: JobDefinition | None,
) -> AsyncIterator[PayloadItem]:
    """Return the items that the form describes, each of which is checked when it is read.

    Args:
        services: The services of the request.
        manifest: The project of the Job.
        head: The Job without its payload.
        values: The fields of the form.
        file: The file that was sent with it.
        columns: The columns of its table.
        known: The definition of the Job that is edited.

    Raises:
        BadRequest: The table or the file cannot be read.
    """
    api = values.get("api", "")
    match values.get("source"):
        case "table":
            if values.get("columnsOf") != api:
                raise field_error("payload", f"values in the columns, which are those of {api} now")
            rows = range(count_rows(values, columns))
            texts = [[values.get(cell(row, column.name), "") for column in columns] for row in rows]
            names = [column.name for column in columns]
            return items_of_json(services, manifest, head, _items_of_rows(api, names, texts, columns))
        case "kept" if known is not None:
            return items_of_json(services, manifest, head, _kept(services, known))
        case "file":
            if file is None:
                raise field_error("payload", "a file with items")
            if file.name.lower().endswith(".csv"):
                header, texts = _read_csv(file.content)
                return items_of_json(services, manifest, head, _items_of_rows(api, header, texts, columns))
            return _items_of_text(services, manifest, head, file.content)
        case _:
            return _items_of_text(services, manifest, head, values.get("lines", "").encode())


def _items_of_text(services: Services, manifest: Manifest, head: JobHead, text: bytes) -> AsyncIterator[PayloadItem]:
    """Return the items of a JSON array, or of lines. Raises BadRequest if it is neither."""
    text = text.removeprefix(b"\xef\xbb\xbf")
    if not text.lstrip().startswith(b"["):
        return items_of_lines(services, manifest, head, text)
    payload = cast("list[Any]", parse_json(text, "The payload"))

    async def each() -> AsyncIterator[Any]:
        for item in payload:
            yield item

    return items_of_json(services, manifest, head, each())


async def _kept(services: Services, definition: JobDefinition) -> AsyncIterator[Any]:
    async for chunk in stream_payload(services.store, definition):
        for line in chunk.splitlines():
            yield json.loads(line)


def _read_csv(content: bytes) -> tuple[list[str], list[list[str]]]:
    """Return the names in the first line of a CSV file, and its other lines, without those that are blank.

    Raises:
        PayloadTooLarge: It has more than `MAX_VALUES` values.
        BadRequest: It is no such file.
    """
    if content.count(b",") + max(content.count(b"\n"), content.count(b"\r")) > MAX_VALUES:
        raise PayloadTooLarge(f"The file has more than {MAX_VALUES:,} values: commas and ends of lines.")
    try:
        lines = [line for line in csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True) if line]
    except (ValueError, csv.Error) as error:
        raise field_error("payload", "CSV in UTF-8", f"payload: this is no CSV file in UTF-8: {error}.") from error
    if not lines or not all(lines[0]) or len(set(lines[0])) < len(lines[0]):
        raise field_error("payload", "CSV whose first line names the parameters, each of them once")
    for number, line in enumerate(lines[1:]):
        if len(line) > len(lines[0]):
            raise field_error(f"payload[{number}]", f"a line with {len(lines[0])} values at most, as the first one has")
    return lines[0], lines[1:]


async def _items_of_rows(
    api: str, names: Sequence[str], rows: Sequence[Sequence[str]], columns: Sequence[SchemaField]
) -> AsyncIterator[Any]:
    """Yield an item of an API for each row. A parameter whose text is empty is left out. Raises BadRequest."""
    known = {column.name: column for column in columns}
    for index, texts in enumerate(rows):
        parameters = {
            name: _value(known.get(name), text, f"payload[{index}].parameters.{name}")
            for name, text in zip(names, texts, strict=False)  # the last values of a line of CSV may be left out
            if text
        }
        yield {"apiName": api, "parameters": parameters}


def _value(column: SchemaField | None, text: str, path: str) -> Any:
    """Return the value that a text stands for: by the schema, or without one, what JSON takes it for, else itself."""
    if column is not None and (column.control in _AS_TEXT or (column.choices and text not in column.choices)):
        return text
    try:
        return parse_json(text.encode())
    except BadRequest as error:
        if column is None:
            return text
        raise field_error(path, column.kind) from error


def _rows(items: Sequence[Mapping[str, Any]], api: str, columns: Sequence[SchemaField]) -> dict[str, str] | None:
    """Return the cells of a table that says all of these items; None if none does."""
    known = {column.name: column for column in columns}
    cells: dict[str, str] = {}
    for row, item in enumerate(items):
        if set(item) != {"apiName", "parameters"} or item["apiName"] != api:
            return None
        for name, value in item["parameters"].items():
            text = _text(known[name], value) if name in known else None
            if text is None:
                return None
            cells[cell(row, name)] = text
    return cells


def _text(column: SchemaField, value: Any) -> str | None:
    """Return what a cell holds for a value; None if no text stands for it there."""
    match column.control:
        case "date" if not _is_date(value):
            return None
        case control if control in _AS_TEXT:
            # A text field has one line, and cannot tell an empty text from none.
            return value if isinstance(value, str) and value and value.isprintable() else None
        case "number" if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        case _:
            text = json.dumps(value, ensure_ascii=False)
            choices = ("true", "false") if column.control == "checkbox" else column.choices
            return text if text in choices or not choices else None


def _is_date(value: Any) -> bool:
    try:
        return isinstance(value, str) and date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False
