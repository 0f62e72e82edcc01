"""`callboard projects …`: the projects that are deployed behind an API."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.api_client import ApiClient, quote_segment
from cli.options import AsJson
from cli.output import format_time, print_fields, print_json, print_table
from cli.with_api import Project, resolve_project, with_api

app = typer.Typer(help="List and inspect deployed projects.", no_args_is_help=True, add_completion=False)


@app.command("list")
@with_api
def list_projects(api: ApiClient, as_json: AsJson = False) -> None:
    """List the deployed projects."""
    answer = api.request("GET", "projects")
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            each["name"],
            each["version"],
            _format_held(each["machines"]),
            _format_usage(each["machines"]),
            _format_missing(each["machines"]),
            len(each["apis"]),
            each["authSessions"],
        )
        for each in answer["projects"]
    ]
    print_table(("PROJECT", "VERSION", "MACHINES", "IN USE", "MISSING", "APIS", "AUTHSESSIONS"), rows)


@app.command()
@with_api
def get(
    api: ApiClient,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Project. Default: as for -p.")] = None,
    named: Project = None,
    as_json: AsJson = False,
) -> None:
    """Show a project with its version, APIs and Machines."""
    project = api.request("GET", f"projects/{quote_segment(resolve_project(name or named))}")
    if as_json:
        print_json(project)
        return
    print_fields(
        {
            "Project": project["name"],
            "Version": f"{project['version']}, first deployed {format_time(project['createdAt'])}",
            "APIs": ", ".join(project["apis"]),
            "API access": "on" if project["apiAccess"] else "off",
            "AuthSessions": project["authSessions"],
            "Machines": _format_held(project["machines"]),
            "In use": _format_usage(project["machines"]),
            "Workers": _format_workers(project["machines"]),
            "Missing": _format_missing(project["machines"]),
            "Warnings": "\n".join(project["warnings"]),
        }
    )


def _format_held(machines: dict[str, Any]) -> str:
    return f"{'–' if machines['held'] is None else machines['held']} of {machines['wanted']}"


def _format_usage(machines: dict[str, Any]) -> str:
    return "unknown" if machines["busy"] is None else f"{machines['busy']} busy, {machines['warm']} warm"


def _format_workers(machines: dict[str, Any]) -> str:
    return ", ".join(f"{each['worker']} ({each['machines']})" for each in machines["workers"] or ())


def _format_missing(machines: dict[str, Any]) -> str:
    if machines["held"] is None:
        return "unknown, as no worker answers"
    return "" if machines["missing"] is None else machines["missing"]["message"]
