"""`callboard alerts`: the alerts of a project."""

from __future__ import annotations

from typing import Any

from callboard.cli.api_client import ApiClient
from callboard.cli.options import AsJson
from callboard.cli.output import format_short_time, print_json, print_table
from callboard.cli.with_api import with_project


@with_project
def alerts(target: ApiClient, as_json: AsJson = False) -> None:
    """List the alerts of a project: those that are open first, then the last others."""
    answer = target.request("GET", "alerts")
    if as_json:
        print_json(answer)
        return
    print_table(("STATUS", "RULE", "OPENED", "CLOSED", "RUNS"), [_row(each) for each in answer["alerts"]])


def _row(alert: dict[str, Any]) -> tuple[Any, ...]:
    rule, closed = alert["rule"], alert["closedAt"]
    broken = (
        f"{rule['failures']} failures within {rule['within']}"
        if "failures" in rule
        else f"success rate under {rule['successRate']:g} of {rule['of']}"
    )
    runs = ", ".join(alert["runs"])
    return (
        "closed" if closed else "open",
        broken,
        format_short_time(alert["openedAt"]),
        format_short_time(closed),
        runs,
    )
