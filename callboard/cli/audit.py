"""`callboard audit`: who has changed what, and who was refused."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from callboard.cli.api_client import ApiClient
from callboard.cli.filters import Filters, parse_audit_filters
from callboard.cli.options import AsJson
from callboard.cli.output import format_short_time, print_json, print_message, print_table
from callboard.cli.with_api import with_api
from callboard.schemas.rest.audit import WORDS_OF_IDS

_PAGE = 200


@with_api
def audit(
    api: ApiClient,
    filters: Filters = None,
    limit: Annotated[int, typer.Option("--limit", "-l", min=1, help="Maximum number of entries.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Continue an earlier list: its nextCursor.")] = None,
    as_json: AsJson = False,
) -> None:
    """List who has changed what, and who was refused, newest first. This needs a key with the scope admin.

    Filters: actor= (id or name of a key), action=, project=, since=, until=. An entry must match one value of each
    filter that is given.
    """
    query = parse_audit_filters(filters)
    entries: list[dict[str, Any]] = []
    while len(entries) < limit:
        place = {} if cursor is None else {"cursor": cursor}
        page = api.request("GET", "audit", query={**query, **place, "limit": min(limit - len(entries), _PAGE)})
        entries += page["entries"]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    if as_json:
        print_json({"entries": entries, "nextCursor": cursor})
        return
    columns = ("TIME", "ACTION", "ACTOR", "PROJECT", "STATUS", "FROM", "SUBJECT")
    print_table(columns, [_entry_row(entry) for entry in entries])
    if cursor is not None:
        print_message(f"There may be more entries. Raise the limit with -l, or continue with --cursor {cursor}")


def _entry_row(entry: dict[str, Any]) -> tuple[Any, ...]:
    actor = entry["actor"]
    subject = [f"{WORDS_OF_IDS.get(name, name)} {value}" for name, value in entry["ids"].items()]
    if entry["action"] == "refusal":
        subject.append(entry["refusedAction"] or entry["request"] or "")
    if entry["missingScope"] is not None:
        subject.append(f"the scope {entry['missingScope']} is missing")
    return (
        format_short_time(entry["time"]),
        entry["action"],
        actor["id"] if actor["name"] is None else f"{actor['name']} ({actor['id']})",
        entry["project"],
        "client left" if entry["status"] is None else entry["status"],
        entry["client"],
        ", ".join(subject),
    )
