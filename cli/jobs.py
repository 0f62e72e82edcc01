"""`callboard jobs …`: the Jobs of a project, over the API."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.exit_codes import exit_code_for_status
from cli.job_body import send_job
from cli.json_argument import JSON_HELP
from cli.output import (
    format_short_time,
    format_time,
    print_fields,
    print_heading,
    print_json,
    print_message,
    print_table,
)
from cli.polling import wait_for_job_run
from cli.render import format_cause, format_run_counts
from cli.with_api import AsJson, ProjectApi, quote_segment, with_project

app = typer.Typer(
    help="Manage Jobs, which start many Runs, by a schedule or by a command.",
    no_args_is_help=True,
    add_completion=False,
)

JobId = Annotated[str, typer.Argument(metavar="JOB_ID")]
Body = Annotated[
    str, typer.Argument(metavar="BODY", help=f"The Job: {JSON_HELP}; or a file of NDJSON, with the payload in it.")
]
Payload = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Items of the payload as NDJSON, one a line, or - for stdin."),
]


@app.command()
@with_project
def create(target: ProjectApi, body: Body, payload: Payload = None, as_json: AsJson = False) -> None:
    """Create a Job, and print its id.

    BODY is the request body of the REST API. A long payload comes as NDJSON: with --payload, or in a BODY whose name
    ends in .ndjson, whose first line is the Job and each further line an item.
    """
    made = send_job(target, "POST", "jobs", body, payload)
    print_json(made) if as_json else typer.echo(made["id"])


@app.command()
@with_project
def update(target: ProjectApi, job_id: JobId, body: Body, payload: Payload = None, as_json: AsJson = False) -> None:
    """Replace a Job: its payload, configuration, schedule and all else. A JobRun that is active keeps what it has."""
    changed = send_job(target, "PUT", _path(job_id), body, payload)
    print_json(changed) if as_json else typer.echo(f"Updated Job {job_id}.")


@app.command("list")
@with_project
def list_jobs(target: ProjectApi, as_json: AsJson = False) -> None:
    """List Jobs."""
    jobs: list[dict[str, Any]] = target.request("GET", "jobs")
    if as_json:
        print_json(jobs)
        return
    rows = [
        (
            job["id"],
            job["state"],
            job.get("source"),
            job.get("payload_count"),
            format_short_time(job.get("next_run_time")),
            format_short_time(job.get("last_run_time")),
        )
        for job in jobs
    ]
    print_table(("JOB", "STATE", "SOURCE", "ITEMS", "NEXT RUN", "LAST RUN"), rows)


@app.command()
@with_project
def get(target: ProjectApi, job_id: JobId, as_json: AsJson = False) -> None:
    """Show a Job with its schedule, configuration and payload."""
    job = target.request("GET", _path(job_id))
    if as_json:
        print_json(job)
        return
    auth_session: dict[str, Any] = job.get("auth_session") or {}
    print_fields(
        {
            "Job": job["id"],
            "State": job["state"],
            "Source": job.get("source"),
            "Items": job.get("payload_count"),
            "Created": format_time(job["created_at"]),
            "Next run": format_time(job.get("next_run_time")),
            "Last run": format_time(job.get("last_run_time")),
            "AuthSession": auth_session.get("id"),
            "Proxy": job.get("proxy"),
        }
    )
    for name in ("schedule", "configuration", "sink", "notifications", "payload"):
        if job.get(name):
            print_heading(name.capitalize())
            print_json(job[name])


@app.command()
@with_project
def delete(
    target: ProjectApi,
    job_id: JobId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a Job. A JobRun of it that is active goes on."""
    if not yes:
        typer.confirm(f"Delete Job {job_id}?", abort=True, err=True)
    target.request("DELETE", _path(job_id))
    typer.echo(f"Deleted Job {job_id}.")


@app.command()
@with_project
def pause(target: ProjectApi, job_id: JobId, as_json: AsJson = False) -> None:
    """Pause a Job: its schedule starts no JobRun, and its active JobRun starts no further Run."""
    answer = target.request("POST", f"{_path(job_id)}/pause")
    print_json(answer) if as_json else typer.echo(f"Job {job_id} is paused.")


@app.command()
@with_project
def resume(target: ProjectApi, job_id: JobId, as_json: AsJson = False) -> None:
    """Resume a Job that is paused, and its JobRun."""
    answer = target.request("POST", f"{_path(job_id)}/resume")
    print_json(answer) if as_json else typer.echo(f"Job {job_id} is resumed.")


@app.command()
@with_project
def trigger(
    target: ProjectApi,
    job_id: JobId,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the JobRun has ended.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start a JobRun now, and print its id.

    With --wait, the exit code is 0 if the JobRun has executed all of its Runs, also if some of them failed; 1 if it
    could not go on; and 3 if it was canceled or terminated.
    """
    answer = target.request("POST", f"{_path(job_id)}/trigger")
    job_run_id: str = answer["jobRunId"]
    if not wait:
        print_json(answer) if as_json else typer.echo(job_run_id)
        return
    print_message(f"JobRun {job_run_id}")
    ended = wait_for_job_run(target, job_id, job_run_id)
    job_run = ended["jobRun"]
    if as_json:
        print_json(ended)
    elif job_run["status"] == "SUCCESS":
        typer.echo(f"The JobRun is {job_run['status']}. {format_run_counts(job_run)}.")
    else:
        print_message(
            f"The JobRun is {job_run['status']}. {format_cause(job_run)} {format_run_counts(job_run)}.", "red"
        )
    raise typer.Exit(exit_code_for_status(job_run["status"]))


def _path(job_id: str) -> str:
    return f"jobs/{quote_segment(job_id)}"
