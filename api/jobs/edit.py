"""The pages on which Jobs are made and edited: a form over the calls that create and update a Job."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any
from zoneinfo import ZoneInfo, available_timezones

from fastapi import Depends, Request
from pydantic import ValidationError
from starlette.datastructures import ImmutableMultiDict
from starlette.responses import Response

from api.dashboard.auth import SessionDep, verified_form_with_file
from api.dashboard.forms import FormFile, FormReader, errors_by_path
from api.dashboard.page_route import page_router
from api.dashboard.rendering import redirect, render_page
from api.dependencies import Services, ServicesDep
from api.http.access import CallerDep, audit_note, requires
from api.jobs.definition import JSON_LIMIT
from api.jobs.form import know_job, notification_rows, read_head
from api.jobs.form_items import (
    count_rows,
    item_values,
    most_rows,
    new_item_values,
    read_payload,
    table_columns,
    without_row,
)
from api.jobs.form_schedule import WEEK, read_schedule
from api.jobs.jobs import JobDep, create_job, definition_of, update_job
from api.jobs.next_times import next_times
from api.jobs.schedule_text import describe_schedule
from api.lookup import ProjectDep
from callboard.projects.manifest import Manifest
from callboard.schemas.errors import BadRequest, CallboardError, Conflict, PayloadTooLarge, Unavailable
from callboard.schemas.rest.access import Scope
from callboard.schemas.rest.field_errors import validation_error
from callboard.schemas.rest.job_schedule import JobSchedule
from callboard.schemas.rest.jobs import JobHead, NewJobHead
from callboard.schemas.rest.json_text import validate_body
from callboard.schemas.workflow.job import JobDefinition, JobSource
from callboard.security.apikeys import Caller
from callboard.temporal.jobs import require_source

_SECRET_FIELDS = ("accessKeyId", "secretAccessKey", "token")
"""Names of the fields whose values the page never repeats."""
_ADDED_ROWS = {"row": 1, "rows": 10}
"""How many rows the buttons add to the table, by what they send."""

router = page_router("/projects/{projectName}")

_CREATING = [requires(Scope.JOBS, "job.create")]
_UPDATING = [requires(Scope.JOBS, "job.update")]
_READING = [requires(Scope.JOBS)]


async def _read_form(request: Request, session: SessionDep) -> tuple[ImmutableMultiDict[str, str], FormFile | None]:
    return await verified_form_with_file(request, session, JSON_LIMIT)


_JobForm = Annotated[tuple[ImmutableMultiDict[str, str], FormFile | None], Depends(_read_form)]


@router.get("/new-job", dependencies=_READING)
@router.get("/new-job.json", dependencies=_READING)
async def new_page(request: Request, services: ServicesDep, caller: CallerDep, manifest: ProjectDep) -> Response:
    """Show the form of a new Job; `api` is that of its first item."""
    values = await new_item_values(services, manifest, request.query_params.get("api"))
    return await _render(request, services, caller, manifest, values, None)


@router.post("/new-job", dependencies=_CREATING)
async def create_by_form(
    request: Request, services: ServicesDep, caller: CallerDep, sent: _JobForm, manifest: ProjectDep
) -> Response:
    """Create the Job and show it. If a field is wrong, show the form again, with the error beside it."""
    return await _save(request, services, caller, manifest, sent, None)


@router.get("/jobs/{jobId}/edit", dependencies=_READING)
@router.get("/jobs/{jobId}/edit.json", dependencies=_READING)
async def edit_page(
    request: Request, services: ServicesDep, caller: CallerDep, manifest: ProjectDep, job: JobDep
) -> Response:
    """Show the form of a Job."""
    require_source(job.ref, JobSource.API)
    definition = await definition_of(services, job)
    values = know_job(definition, services.ring).values | await item_values(services, manifest, definition)
    return await _render(request, services, caller, manifest, values, definition)


@router.post("/jobs/{jobId}/edit", dependencies=_UPDATING)
async def update_by_form(
    request: Request, services: ServicesDep, caller: CallerDep, sent: _JobForm, manifest: ProjectDep, job: JobDep
) -> Response:
    """Update the Job and show it. If a field is wrong, show the form again, with the error beside it."""
    require_source(job.ref, JobSource.API)
    return await _save(request, services, caller, manifest, sent, await definition_of(services, job))


async def _save(
    request: Request,
    services: Services,
    caller: Caller,
    manifest: Manifest,
    sent: tuple[ImmutableMultiDict[str, str], FormFile | None],
    known: JobDefinition | None,
) -> Response:
    form, file = sent
    # Browsers end the lines of a field with both.
    values = {name: value.replace("\r\n", "\n") for name, value in form.items()}
    values["days"] = " ".join(form.getlist("days"))
    columns = await table_columns(services, manifest, values.get("api", ""))
    action, _, row = values.get("do", "save").partition("-")
    if action != "save":
        audit_note(request.scope).action = None
        if action in _ADDED_ROWS:
            rows = min(count_rows(values, columns) + _ADDED_ROWS[action], most_rows(columns))
            values["rows"] = str(rows)
        elif action == "remove" and re.fullmatch(r"\d{1,3}", row, re.ASCII):
            values = without_row(values, columns, int(row))
        return await _render(request, services, caller, manifest, values, known, foretold=action == "times")
    try:
        body = read_head(values, None if known is None else know_job(known, services.ring))
        if known is None:
            head = validate_body(NewJobHead, body)
            items = read_payload(services, manifest, head, values, file, columns, None)
            await create_job(services, manifest, head, items)
            return redirect(f"/projects/{manifest.project}/jobs/{head.id}", done="create")
        edited = validate_body(JobHead, body)
        items = read_payload(services, manifest, edited, values, file, columns, known)
        await update_job(services, manifest, known.job_id, edited, items, values.get("definition", ""))
    except (BadRequest, Conflict, PayloadTooLarge, Unavailable) as error:
        return await _render(request, services, caller, manifest, values, known, error=error)
    return redirect(f"/projects/{manifest.project}/jobs/{known.job_id}", done="update")


async def _render(
    request: Request,
    services: Services,
    caller: Caller,
    manifest: Manifest,
    values: Mapping[str, str],
    known: JobDefinition | None,
    *,
    error: CallboardError | None = None,
    foretold: bool = False,
) -> Response:
    """Return the page with these values in its form. The next times are shown if they are asked for, or known."""
    api = values.get("api", "")
    columns = await table_columns(services, manifest, api)
    times: list[datetime] = []
    schedule: dict[str, Any] | None = None
    if foretold:
        try:
            schedule = _checked_schedule(values)
            times = [] if schedule is None else next_times(schedule, datetime.now(UTC))
        except BadRequest as wrong:
            error = wrong
    lists = manifest.settings.auth_sessions.enabled and caller.has(Scope.AUTH_SESSIONS)
    views = await services.auth_sessions.list_all(services.settings.workspace, manifest.project) if lists else []
    data: dict[str, Any] = {
        "jobId": None if known is None else known.job_id,
        "values": {name: value for name, value in values.items() if name not in _SECRET_FIELDS},
        "columns": [asdict(each) for each in columns],
        "rows": count_rows(values, columns),
        "errors": {} if error is None else _errors(error),
        "message": None if error is None else error.message,
        "nextRunTimes": [at.isoformat() for at in times],
    }
    return render_page(
        request,
        "job-form.html",
        data,
        error=error,
        manifest=manifest,
        apis=list(manifest.apis),
        api=api,
        definition=known,
        is_new=known is None,
        most_rows=most_rows(columns),
        week=WEEK,
        zones=_time_zones(),
        foretold=foretold and error is None,
        times=[at.astimezone(_zone_of(schedule)) for at in times],
        schedule=describe_schedule(schedule),
        auth_sessions=[(view.id, view.status.value) for view in views],
        notification_rows=notification_rows(values),
    )


def _checked_schedule(values: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the schedule that the form describes. Raises BadRequest if it is wrong."""
    reader = FormReader(values)
    schedule = read_schedule(reader)
    reader.raise_if_invalid()
    if schedule is None:
        return None
    try:
        JobSchedule.model_validate(schedule)
    except ValidationError as error:
        raise validation_error(error, JobHead, "schedule") from error
    return schedule


def _zone_of(schedule: Mapping[str, Any] | None) -> ZoneInfo:
    return ZoneInfo((schedule or {}).get("timezone") or "UTC")


def _errors(error: CallboardError) -> dict[str, str]:
    """Return what is wrong with each field; the error of a line stands beside all of them."""
    return {"payload": error.message} if "line" in (error.details or {}) else errors_by_path(error)


@cache
def _time_zones() -> list[str]:
    return sorted(available_timezones())
