"""`callboard runs …`: starting Runs, finding them, and waiting for them."""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from callboard.cli import bulk
from callboard.cli.api_client import ApiClient, quote_segment
from callboard.cli.attempt_files import download_files
from callboard.cli.downloads import OutputFile, RawRows, RowsForm, download_rows
from callboard.cli.exit_codes import ExitCode, exit_code_for_status
from callboard.cli.filters import Filters, parse_run_filters
from callboard.cli.json_argument import JSON_HELP, read_object
from callboard.cli.options import AsJson, IdempotencyKey, ProjectDir, idempotency_header
from callboard.cli.output import format_elapsed, format_short_time, open_output, print_json, print_message, print_table
from callboard.cli.polling import UNFINISHED, wait_for_run
from callboard.cli.render import format_cause, print_run
from callboard.cli.with_api import Project, with_api, with_project
from callboard.projects.settings_file import read_settings, resolve_project_name
from callboard.schemas.errors import BadRequest

app = typer.Typer(help="Start, list, inspect and cancel Runs.", no_args_is_help=True, add_completion=False)
app.add_typer(bulk.app, name="bulk")

RunId = Annotated[str, typer.Argument(metavar="RUN_ID")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until the Run has ended, and print its result.")]

_Tags = Annotated[list[str] | None, typer.Option("--tag", metavar="TAG", help="A tag of the Run; repeatable.")]

_PAGE = 200


@app.command()
@with_project
def start(
    target: ApiClient,
    body: Annotated[str, typer.Argument(metavar="BODY", help=f"Request body: {JSON_HELP}.")],
    tags: _Tags = None,
    wait: Wait = False,
    idempotency_key: IdempotencyKey = None,
    as_json: AsJson = False,
) -> None:
    """Start a Run, and print its id.

    BODY is the request body of the REST API: '{"api": "list-products", "parameters": {"category": "chairs"}}'. With
    --wait, the result is printed.
    """
    headers = idempotency_header(idempotency_key)
    request = read_object(body, "BODY")
    if tags:
        written: list[Any] = request.get("tags") or []
        request = {**request, "tags": [*written, *tags]}
    _report_started(target, target.request("POST", "run/start", request, headers=headers), wait, as_json)


@app.command()
@with_project
def rerun(
    target: ApiClient,
    run_id: RunId,
    wait: Wait = False,
    idempotency_key: IdempotencyKey = None,
    as_json: AsJson = False,
) -> None:
    """Start a new Run with the input of an earlier one, and its tags.

    It runs on the version that is deployed now. Its id is printed; with --wait, its result.
    """
    headers = idempotency_header(idempotency_key)
    _report_started(
        target, target.request("POST", f"runs/{quote_segment(run_id)}/rerun", headers=headers), wait, as_json
    )


@app.command("list")
@with_project
def list_runs(
    target: ApiClient,
    filters: Filters = None,
    tags: Annotated[list[str] | None, typer.Option("--tag", metavar="TAG", help="As -f tag=TAG; repeatable.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-l", min=1, help="Maximum number of Runs.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Continue an earlier list: its nextCursor.")] = None,
    as_json: AsJson = False,
) -> None:
    """List Runs: unfinished ones first, then the newest.

    Filters: status=, type=, runId=, api=, authSession=, jobId=, jobRunId=, errorCode=, tag=, q= (a Run's id or its
    beginning), startedAfter=, startedBefore=. A Run must match one value of each filter that is given, and have all
    tags.
    """
    query = parse_run_filters([*(filters or ()), *(f"tag={tag}" for tag in tags or ())])
    runs: list[dict[str, Any]] = []
    while len(runs) < limit:
        place = {} if cursor is None else {"cursor": cursor}
        page = target.request("GET", "runs", query={**query, **place, "limit": min(limit - len(runs), _PAGE)})
        runs += page["runs"]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    if as_json:
        print_json({"runs": runs, "nextCursor": cursor})
        return
    columns = ("RUN", "STATUS", "API", "ATTEMPTS", "CREATED", "DURATION", "REASON")
    print_table(columns, [_run_row(run) for run in runs])
    if cursor is not None:
        print_message(f"There are more Runs. Raise the limit with -l, or continue with --cursor {cursor}")


@app.command()
@with_project
def get(target: ApiClient, run_id: RunId, as_json: AsJson = False) -> None:
    """Show a Run with its input, Attempts and result."""
    run = target.request("GET", f"runs/{quote_segment(run_id)}")
    print_json(run) if as_json else print_run(run)


@app.command()
@with_project
def result(target: ApiClient, run_id: RunId, wait: Wait = False, as_json: AsJson = False) -> None:
    """Print the result of a Run.

    The exit code is 0 if the Run completed, 1 if it failed or has not ended yet, and 3 if it was canceled.
    """
    answer = target.request("GET", f"run/{quote_segment(run_id)}/result")
    if wait and answer["status"] in UNFINISHED:
        answer = wait_for_run(target, run_id)
    if answer["status"] in UNFINISHED:
        if as_json:
            print_json(answer)
        else:
            print_message(f"Run {run_id} is {answer['status']}. Pass --wait to wait for its result.")
        raise typer.Exit(ExitCode.FAILED)
    _report_ended(target, answer, as_json)


@app.command()
@with_project
def rows(
    target: ApiClient, run_id: RunId, form: RowsForm = "json", raw: RawRows = False, output_file: OutputFile = None
) -> None:
    """Print the rows of a Run whose result is a table: a list of objects, or an object with one such list."""
    download_rows(target, f"runs/{quote_segment(run_id)}/rows", form, raw, output_file)


@app.command()
@with_api
def pull(target: ApiClient, run_id: RunId, project: Project = None, project_dir: ProjectDir = None) -> None:
    """Write the parameters of a Run into its project's folder, to start it again there with `callboard run`.

    The file is .parameters/api/NAME/RUN_ID.json. One that was changed since is never overwritten. The files that its
    last Attempt has left are written below output/RUN_ID.
    """
    folder = project_dir or Path()
    if project is None:
        project = resolve_project_name(folder.resolve(), read_settings(folder))
    target = dataclasses.replace(target, project=project)
    run = target.request("GET", f"runs/{quote_segment(run_id)}")
    if run["type"] != "api":
        raise BadRequest(f"Run {run_id} is of a login, whose parameters are secrets. They are not written to a file.")
    api: str = run["api"]
    samples = folder / ".parameters" / "api"
    file = samples / api / f"{run_id}.json"
    if not file.resolve().is_relative_to(samples.resolve()):
        raise BadRequest(f"{file} is not below {samples}. Nothing was written.")
    text = json.dumps(run["input"].get("parameters"), indent=2) + "\n"
    if file.exists() and file.read_text("utf-8") != text:
        raise BadRequest(f"{file} was changed since it was written. Rename or remove it, and repeat this.")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadRequest(f"{file.parent} cannot be made: {error.strerror}.") from error
    with open_output(file) as out:
        out.write(text.encode())
    typer.echo(str(file))
    for attempt in run["attempts"][-1:]:
        path = f"runs/{quote_segment(run_id)}/attempts/{attempt['number']}"
        for left in download_files(target, path, attempt["files"], folder / "output" / run_id):
            typer.echo(str(left))
    words = ["callboard", "run", "api", api, f"@{file}"]
    if project_dir is not None:
        words += ["--project-dir", str(project_dir)]
    print_message(f"Start it here: {shlex.join(words)}")


@app.command()
@with_project
def cancel(
    target: ApiClient,
    run_id: RunId,
    wait: Annotated[float, typer.Option(metavar="SECONDS", min=0, max=60, help="Maximum time to wait.")] = 30,
    as_json: AsJson = False,
) -> None:
    """Cancel a Run, and wait until its browser is closed.

    A Run that has already ended is left unchanged.
    """
    answer = target.request("POST", f"run/{quote_segment(run_id)}/cancel", query={"wait": wait})
    if as_json:
        print_json(answer)
    elif answer["status"] == "canceled":
        typer.echo(f"Run {run_id} is canceled.")
    elif answer["status"] in UNFINISHED:
        print_message(f"Run {run_id} is being canceled and has not ended yet.")
    else:
        typer.echo(f"Run {run_id} has already ended: {answer['status']}.")
    if answer["status"] in UNFINISHED:
        raise typer.Exit(ExitCode.FAILED)


def _report_started(target: ApiClient, answer: dict[str, Any], wait: bool, as_json: bool) -> None:
    run_id: str = answer["runId"]
    if wait:
        print_message(f"Run {run_id}")
        _report_ended(target, wait_for_run(target, run_id), as_json)
    elif as_json:
        print_json(answer)
    else:
        typer.echo(run_id)


def _report_ended(target: ApiClient, answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(answer)
    elif answer["status"] == "completed":
        print_json(answer.get("result"))
    elif answer["status"] == "canceled":
        print_message(f"The Run was canceled. {format_cause(answer)}", "red")
    else:
        print_message(f"The Run failed. {format_cause(answer)}", "red")
        # A Run that failed for another reason may have no Attempt.
        command = "attempts" if answer["error"]["code"].endswith("-attempts-failed") else "runs"
        print_message(f"See: callboard {command} get {answer['runId']} -p {target.project}")
    raise typer.Exit(exit_code_for_status(answer["status"]))


def _run_row(run: dict[str, Any]) -> tuple[Any, ...]:
    cause = run["error"] or run["reason"]
    handoff = run.get("handoff")
    asked = "" if handoff is None else f"waits for a person: {handoff['instructions']}"
    return (
        run["runId"],
        run["status"],
        run["api"] or run["type"],
        run["attemptCount"],
        format_short_time(run["createdAt"]),
        format_elapsed(run["startedAt"], run["endedAt"]),
        asked if cause is None else cause["message"],
    )
