"""`callboard fleet`: which worker has how many Machines of which project, and what is missing."""

from __future__ import annotations

from callboard.cli.api_client import ApiClient
from callboard.cli.options import AsJson
from callboard.cli.output import print_heading, print_json, print_table
from callboard.cli.with_api import with_api


@with_api
def fleet(api: ApiClient, as_json: AsJson = False) -> None:
    """Show which worker has how many Machines, how many are in use, and what is missing.

    The key needs the scope `admin`.
    """
    answer = api.request("GET", "fleet")
    if as_json:
        print_json(answer)
        return
    print_table(
        ("WORKER", "HOST", "MACHINES", "IN USE", "ISOLATION", "STATE"),
        [
            (
                worker["worker"],
                worker["host"],
                f"{worker['machines']} of {worker['capacity']}",
                f"{worker['busy']} busy, {worker['warm']} warm",
                worker["isolation"],
                worker["state"],
            )
            for worker in answer["workers"]
        ],
    )
    limit = answer["limit"]
    print_heading("Projects" if limit is None else f"Projects, of which all together may have {limit}")
    print_table(
        ("PROJECT", "MACHINES", "IN USE", "WORKERS", "MISSING"),
        [
            (
                project["project"],
                f"{project['held']} of {project['machines']}",
                f"{project['busy']} busy, {project['warm']} warm",
                ", ".join(f"{name} ({count})" for name, count in project["workers"].items()),
                project["message"],
            )
            for project in answer["projects"]
        ],
    )
