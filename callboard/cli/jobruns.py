"""`callboard jobruns …`: the JobRuns of a project, over the API."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from callboard.cli.api_client import ApiClient, quote_segment
from callboard.cli.downloads import OutputFile, RawRows, RowsForm, download, download_rows
from callboard.cli.jobs import AllowFailed, WaitForEnd, tell_started
from callboard.cli.options import AsJson, IdempotencyKey, idempotency_header
from callboard.cli.output import format_elapsed, format_short_time, print_json, print_message, print_table
from callboard.cli.render import format_cause, print_job_run
from callboard.cli.with_api import with_project

app = typer.Typer(
    help="List, inspect, pause, terminate and rerun JobRuns, and download their results.",
    no_args_is_help=True,
    add_completion=False,
)

JobRunId = Annotated[str, typer.Argument(metavar="JOB_RUN_ID")]

_PAGE = 100


@app.command("list")
@with_project
def list_job_runs(
    target: ApiClient,
    job_id: Annotated[str, typer.Argument(metavar="JOB_ID")],
    limit: Annotated[int, typer.Option("--limit", "-l", min=1, help="Maximum number of JobRuns.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List the JobRuns of a Job, the newest first."""
    size = min(limit, _PAGE)
    job_runs: list[dict[str, Any]] = []
    while True:
        query = {"pageSize": size, "pageNumber": len(job_runs) // size, "sortBy": "start_time,desc"}
        page = target.request("GET", f"jobs/{quote_segment(job_id)}/runs", query=query)
        job_runs += page["jobRuns"]
        if len(page["jobRuns"]) < size or len(job_runs) >= limit:
            break
    job_runs = job_runs[:limit]
    if as_json:
        print_json({"jobRuns": job_runs, "totalCount": page["totalCount"]})
        return
    print_table(
        ("JOBRUN", "STATUS", "TYPE", "STARTED", "DURATION", "RUNS", "COMPLETED", "FAILED", "REASON"),
        [_job_run_row(each) for each in job_runs],
    )


@app.command()
@with_project
def get(target: ApiClient, job_run_id: JobRunId, as_json: AsJson = False) -> None:
    """Show a JobRun with its counts."""
    answer = _find(target, job_run_id)
    print_json(answer) if as_json else print_job_run(answer)


@app.command()
@with_project
def pause(target: ApiClient, job_run_id: JobRunId, as_json: AsJson = False) -> None:
    """Pause a JobRun: it starts no further Run; those in flight end."""
    answer = target.request("POST", f"{_path(_find(target, job_run_id))}/pause")
    print_json(answer) if as_json else typer.echo(f"JobRun {job_run_id} is being paused.")


@app.command()
@with_project
def resume(target: ApiClient, job_run_id: JobRunId, as_json: AsJson = False) -> None:
    """Resume a JobRun that is paused."""
    answer = target.request("POST", f"{_path(_find(target, job_run_id))}/resume")
    print_json(answer) if as_json else typer.echo(f"JobRun {job_run_id} is being resumed.")


@app.command()
@with_project
def terminate(target: ApiClient, job_run_id: JobRunId, as_json: AsJson = False) -> None:
    """Terminate a JobRun: its Runs in flight are canceled. One that has ended is left unchanged."""
    found = _find(target, job_run_id)
    answer = target.request("POST", f"{_path(found)}/terminate")
    if as_json:
        print_json(answer)
    elif found["jobRun"]["end_time"] is None:
        typer.echo(f"JobRun {job_run_id} is being terminated.")
    else:
        typer.echo(f"JobRun {job_run_id} has already ended: {found['jobRun']['status']}.")


@app.command()
@with_project
def rerun_failed(
    target: ApiClient,
    job_run_id: JobRunId,
    wait: WaitForEnd = False,
    allow_failed: AllowFailed = False,
    idempotency_key: IdempotencyKey = None,
    as_json: AsJson = False,
) -> None:
    """Start a JobRun of the items that failed, were canceled or never started, and print its id.

    With --wait, the exit code is as that of `jobs trigger`.
    """
    headers = idempotency_header(idempotency_key)
    found = _find(target, job_run_id)
    answer = target.request("POST", f"{_path(found)}/rerun-failed", headers=headers)
    tell_started(target, found["jobRun"]["job_id"], answer, wait, allow_failed, as_json)


@app.command()
@with_project
def results(
    target: ApiClient,
    job_run_id: JobRunId,
    output_file: OutputFile = None,
) -> None:
    """Print the results of a JobRun: one line of JSON for each of its Runs that has ended."""
    found = _find(target, job_run_id)
    download(target, f"{_path(found)}/results", output_file)
    if found["jobRun"]["end_time"] is None:
        print_message(f"JobRun {job_run_id} has not ended yet: these are the results so far.")


@app.command()
@with_project
def rows(
    target: ApiClient,
    job_run_id: JobRunId,
    form: RowsForm = "json",
    raw: RawRows = False,
    output_file: OutputFile = None,
) -> None:
    """Print the rows of all Runs of a JobRun whose results are tables, each with its Run and API."""
    download_rows(target, f"{_path(_find(target, job_run_id))}/rows", form, raw, output_file)


def _find(target: ApiClient, job_run_id: str) -> dict[str, Any]:
    return target.request("GET", f"job-runs/{quote_segment(job_run_id)}")


def _path(found: dict[str, Any]) -> str:
    job_run = found["jobRun"]
    return f"jobs/{quote_segment(job_run['job_id'])}/runs/{quote_segment(job_run['id'])}"


def _job_run_row(job_run: dict[str, Any]) -> tuple[Any, ...]:
    return (
        job_run["id"],
        job_run["status"],
        job_run["type"],
        format_short_time(job_run["start_time"]),
        format_elapsed(job_run["start_time"], job_run["end_time"]),
        job_run["payloads"],
        job_run["successful_runs"],
        job_run["failed_runs"],
        format_cause(job_run),
    )
