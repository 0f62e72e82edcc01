"""`callboard projects …`: the projects that are deployed behind an API."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.api_client import Remote
from cli.output import print_facts, print_json, print_table, when
from cli.with_api import AsJson, Project, named_project, on_api, part

app = typer.Typer(help="Projects that are deployed.", no_args_is_help=True, add_completion=False)


@app.command("list")
@on_api
def list_projects(api: Remote, as_json: AsJson = False) -> None:
    """List all projects."""
    answer = api.call("GET", "projects")
    if as_json:
        print_json(answer)
        return
    rows = [
        (each["name"], each["version"], _machines(each), len(each["apis"]), each["authSessions"])
        for each in answer["projects"]
    ]
    print_table(("PROJECT", "VERSION", "MACHINES", "APIS", "AUTHSESSIONS"), rows)


@app.command()
@on_api
def get(
    api: Remote,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Default: as for -p.")] = None,
    named: Project = None,
    as_json: AsJson = False,
) -> None:
    """Show a project: its version, its APIs, its Machines."""
    project = api.call("GET", f"projects/{part(named_project(name or named))}")
    if as_json:
        print_json(project)
        return
    print_facts(
        {
            "Project": project["name"],
            "Version": f"{project['version']}, deployed first {when(project['createdAt'])}",
            "APIs": ", ".join(project["apis"]),
            "API access": "on" if project["apiAccess"] else "off",
            "AuthSessions": project["authSessions"],
            "Machines": f"{_machines(project)}; {project['machines']['wanted']} wanted",
            "Warnings": "\n".join(project["warnings"]),
        }
    )


def _machines(project: dict[str, Any]) -> str:
    machines = project["machines"]
    if machines["offered"] is None:
        return "unknown"
    return f"{machines['busy']} busy, {machines['warm']} warm, of {machines['offered']}"
