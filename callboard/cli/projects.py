"""`callboard projects …`: the projects that are deployed behind an API."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from callboard.cli.api_client import ApiClient, quote_segment
from callboard.cli.options import AsJson
from callboard.cli.output import format_time, print_fields, print_json, print_message, print_table
from callboard.cli.with_api import Project, resolve_project, with_api, with_project

app = typer.Typer(help="List, inspect, roll back and delete projects.", no_args_is_help=True, add_completion=False)

Version = Annotated[str, typer.Argument(metavar="VERSION")]
_PAGE = 100


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


@app.command()
@with_project
def apis(target: ApiClient, as_json: AsJson = False) -> None:
    """List the APIs of a project with the parameters that they take; with --json, their schemas."""
    answer = target.request("GET", "apis")
    if as_json:
        print_json(answer)
        return
    rows = [
        (each["name"], _format_parameters(each["inputSchema"]), (each["docstring"] or "").partition("\n")[0])
        for each in answer["apis"]
    ]
    print_table(("API", "PARAMETERS", "WHAT IT DOES"), rows)


@app.command()
@with_project
def versions(
    target: ApiClient,
    limit: Annotated[int, typer.Option("--limit", "-l", min=1, help="Maximum number of versions.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the versions of a project: who has deployed them when, and which one is deployed now."""
    found: list[dict[str, Any]] = []
    query: dict[str, Any] = {}
    while len(found) < limit:
        page = target.request("GET", "versions", query={**query, "limit": min(limit - len(found), _PAGE)})
        found += page["versions"]
        if page["nextCursor"] is None:
            break
        query = {"cursor": page["nextCursor"]}
    if as_json:
        print_json({"versions": found})
        return
    rows = [
        (
            each["version"],
            "deployed" if each["current"] else "",
            format_time(each["at"]),
            each["by"],
            _format_commit(each["commit"]),
            each["message"],
        )
        for each in found
    ]
    print_table(("VERSION", "", "AT", "BY", "COMMIT", "MESSAGE"), rows)


@app.command()
@with_project
def diff(
    target: ApiClient,
    version: Version,
    since: Annotated[str | None, typer.Argument(metavar="SINCE", help="Default: the deployed version.")] = None,
    as_json: AsJson = False,
) -> None:
    """Name the files in which a version differs from another one."""
    query = {} if since is None else {"since": since}
    changes = target.request("GET", f"versions/{quote_segment(version)}/changes", query=query)
    if as_json:
        print_json(changes)
        return
    for sign, kind in (("+", "added"), ("-", "removed"), ("~", "changed")):
        for path in changes[kind]:
            typer.echo(f"{sign} {path}")
    if changes["packages"]:
        typer.echo("~ packages, or Python")
    if not changes["known"]:
        print_message("It is not known: the files of one of the two versions are not on record.")


@app.command()
@with_project
def promote(target: ApiClient, version: Version, as_json: AsJson = False) -> None:
    """Let a version be the deployed one. Runs in flight keep their version."""
    _report_deployed(target, target.request("POST", f"versions/{quote_segment(version)}/promote"), as_json)


@app.command()
@with_project
def rollback(target: ApiClient, as_json: AsJson = False) -> None:
    """Deploy the version again that was deployed before the current one. Each further rollback goes one back."""
    _report_deployed(target, target.request("POST", "rollback"), as_json)


@app.command()
@with_api
def delete(
    api: ApiClient,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Project.")],
    confirm: Annotated[str | None, typer.Option(metavar="NAME", help="The name once more: do not ask for it.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    cancel_runs: Annotated[
        bool,
        typer.Option(
            "--cancel-runs", help="Cancel Runs and Deliveries that have not ended. Default: refuse to delete."
        ),
    ] = False,
) -> None:
    """Delete a project: its versions, Jobs, AuthSessions, variables, stored values and artifacts of its Runs."""
    if yes:
        confirm = name
    if confirm is None:
        lost = "its versions, Jobs, AuthSessions, variables, stored values and artifacts"
        asked = f"This deletes project {name} with {lost}. Type its name"
        confirm = typer.prompt(asked, err=True)
    query = {"confirm": confirm, "openRuns": "cancel" if cancel_runs else "refuse"}
    goes_on = api.request("DELETE", f"projects/{quote_segment(name)}", query=query)
    typer.echo(f"Deleted project {name}." if goes_on is None else f"Project {name} is being deleted.")


def _report_deployed(target: ApiClient, version: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(version)
    else:
        typer.echo(f"Version {version['version']} of {target.project} is deployed.")


def _format_commit(commit: str | None) -> str | None:
    if commit is None:
        return None
    digest, _, dirty = commit.partition("-")
    return f"{digest[:12]}{'-' + dirty if dirty else ''}"


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


def _format_parameters(schema: dict[str, Any] | None) -> str:
    """Return the names of the parameters that a schema has, with `?` behind those that may be left out."""
    if schema is None:
        return ""
    name = schema.get("$ref", "").removeprefix("#/$defs/")
    whole = schema["$defs"][name] if name else schema
    required = whole.get("required", [])
    return ", ".join(each if each in required else f"{each}?" for each in whole.get("properties", {}))
