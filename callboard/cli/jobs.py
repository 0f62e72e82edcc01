"""`callboard jobs …`: the Jobs of a project, over the API."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Annotated, Any

import typer

from callboard.cli.api_client import ApiClient, quote_segment
from callboard.cli.exit_codes import ExitCode, exit_code_for_status
from callboard.cli.json_argument import JSON_HELP, read_object
from callboard.cli.options import AsJson
from callboard.cli.output import (
    format_short_time,
    format_time,
    print_fields,
    print_heading,
    print_json,
    print_message,
    print_table,
)
from callboard.cli.polling import wait_for_job_run
from callboard.cli.render import format_cause, format_run_counts
from callboard.cli.with_api import with_project
from callboard.schemas.errors import BadRequest

app = typer.Typer(
    help="Manage Jobs, which start many Runs, by a schedule or by a command.",
    no_args_is_help=True,
    add_completion=False,
)

JobId = Annotated[str, typer.Argument(metavar="JOB_ID")]
Body = Annotated[
    str, typer.Argument(metavar="BODY", help=f"The Job: {JSON_HELP}; or a file of NDJSON, with the payload in it.")
]
WaitForEnd = Annotated[bool, typer.Option("--wait", help="Wait until the JobRun has ended.")]
AllowFailed = Annotated[bool, typer.Option("--allow-failed", help="With --wait: end with 0 also if Runs have failed.")]
Payload = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Items of the payload as NDJSON, one a line, or - for stdin."),
]


@app.command()
@with_project
def create(target: ApiClient, body: Body, payload: Payload = None, as_json: AsJson = False) -> None:
    """Create a Job, and print its id.

    BODY is the request body of the REST API. A long payload comes as NDJSON: with --payload, or in a BODY whose name
    ends in .ndjson, whose first line is the Job and each further line an item.
    """
    made = send_job(target, "POST", "jobs", body, payload)
    print_json(made) if as_json else typer.echo(made["id"])


@app.command()
@with_project
def update(target: ApiClient, job_id: JobId, body: Body, payload: Payload = None, as_json: AsJson = False) -> None:
    """Replace a Job: its payload, configuration, schedule and all else. A JobRun that is active keeps what it has."""
    changed = send_job(target, "PUT", _path(job_id), body, payload)
    print_json(changed) if as_json else typer.echo(f"Updated Job {job_id}.")


@app.command("list")
@with_project
def list_jobs(target: ApiClient, as_json: AsJson = False) -> None:
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
def get(target: ApiClient, job_id: JobId, as_json: AsJson = False) -> None:
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
            "Tags": ", ".join(job.get("tags") or ()),
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
    target: ApiClient,
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
def pause(target: ApiClient, job_id: JobId, as_json: AsJson = False) -> None:
    """Pause a Job: its schedule starts no JobRun, and its active JobRun starts no further Run."""
    answer = target.request("POST", f"{_path(job_id)}/pause")
    print_json(answer) if as_json else typer.echo(f"Job {job_id} is paused.")


@app.command()
@with_project
def resume(target: ApiClient, job_id: JobId, as_json: AsJson = False) -> None:
    """Resume a Job that is paused, and its JobRun."""
    answer = target.request("POST", f"{_path(job_id)}/resume")
    print_json(answer) if as_json else typer.echo(f"Job {job_id} is resumed.")


@app.command()
@with_project
def trigger(
    target: ApiClient,
    job_id: JobId,
    wait: WaitForEnd = False,
    allow_failed: AllowFailed = False,
    as_json: AsJson = False,
) -> None:
    """Start a JobRun now, and print its id.

    With --wait, the exit code is 0 if all Runs of the JobRun have completed; 1 if some of them failed, or if the JobRun
    could not go on; and 3 if it was canceled or terminated.
    """
    answer = target.request("POST", f"{_path(job_id)}/trigger")
    tell_started(target, job_id, answer, wait, allow_failed, as_json)


def tell_started(
    target: ApiClient, job_id: str, answer: dict[str, Any], wait: bool, allow_failed: bool, as_json: bool
) -> None:
    """Print the id of a JobRun that was started; or wait for its end, and exit as `trigger` says."""
    job_run_id: str = answer["jobRunId"]
    if not wait:
        print_json(answer) if as_json else typer.echo(job_run_id)
        return
    print_message(f"JobRun {job_run_id}")
    ended = wait_for_job_run(target, job_id, job_run_id)
    job_run = ended["jobRun"]
    code = exit_code_for_status(job_run["status"])
    if code is ExitCode.OK and job_run["failed_runs"] and not allow_failed:
        code = ExitCode.FAILED
    told = " ".join(filter(None, [f"The JobRun is {job_run['status']}.", format_cause(job_run)]))
    if as_json:
        print_json(ended)
    elif code is ExitCode.OK:
        typer.echo(f"{told} {format_run_counts(job_run)}.")
    else:
        print_message(f"{told} {format_run_counts(job_run)}.", "red")
    raise typer.Exit(code)


def _path(job_id: str) -> str:
    return f"jobs/{quote_segment(job_id)}"


NDJSON = "application/x-ndjson"
_NDJSON_SUFFIXES = (".ndjson", ".jsonl")
_PIECE = 256 * 1024
"""Bytes of a file that are in memory at a time."""


def send_job(target: ApiClient, method: str, path: str, body: str, payload: str | None) -> Any:
    """Send a Job, and return the answer.

    Args:
        target: The project.
        method: The HTTP method.
        path: The path below the project.
        body: The Job: JSON, `@FILE`, the name of a file, or `-` for stdin. A file of NDJSON is sent as it is.
        payload: A file with the items of the payload as NDJSON, or `-` for stdin; None if they are in `body`.

    Raises:
        BadRequest: A file cannot be read, the body is not a JSON object, or there are two payloads.
        CallboardError: The API refuses the Job.
    """
    file = Path(body.removeprefix("@"))
    if payload is None and file.suffix in _NDJSON_SUFFIXES:
        return target.upload(method, path, _read_pieces(file, "BODY"), NDJSON)
    job = read_object(body, "BODY")
    if payload is None:
        return target.request(method, path, job)
    if "payload" in job:
        raise BadRequest("--payload: expected a BODY without a payload, as the items are those of the file.")
    if payload == body == "-":
        raise BadRequest("--payload: expected a file, as BODY comes on stdin.")
    items = _stdin_pieces() if payload == "-" else _read_pieces(Path(payload), "--payload")
    return target.upload(method, path, _with_first_line(job, items), NDJSON)


def _with_first_line(job: dict[str, Any], items: Generator[bytes]) -> Generator[bytes]:
    yield json.dumps(job).encode() + b"\n"
    yield from items


def _read_pieces(path: Path, option: str) -> Generator[bytes]:
    """Return the content of a file in pieces. It is opened at once, so that nothing is sent if that fails."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise BadRequest(f"{option}: {path} cannot be read: {error.strerror}.") from error

    def read() -> Generator[bytes]:
        with file:
            while piece := file.read(_PIECE):
                yield piece

    return read()


def _stdin_pieces() -> Generator[bytes]:
    while piece := sys.stdin.buffer.read(_PIECE):
        yield piece
