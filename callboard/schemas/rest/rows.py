"""Rows: a result as a table (docs/contract.md, section 13.7)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from callboard.schemas.rest.base import QueryModel, ResponseModel, expects

RowsFormat = Literal["json", "jsonl", "csv"]


class RowsQuery(QueryModel):
    """How rows are answered."""

    format: Annotated[RowsFormat, expects("json, jsonl or csv")] = Field(
        default="json", description="One JSON object, a JSON object on each line, or CSV."
    )
    raw: Annotated[bool, expects("true or false")] = Field(
        default=False,
        description="In CSV, write texts that a spreadsheet would execute as they are, without an apostrophe before.",
    )


class RowsBody(ResponseModel):
    """A result as a table, as JSON."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"columns": ["name", "price", "sizes"], "rows": [{"name": "Chair", "sizes": '["S","M"]'}]}]
        }
    )

    columns: list[str]
    """All names of the rows' members, in the order of first sight."""
    rows: list[dict[str, Any]]
    """The rows. Lists and objects in them are JSON text."""
