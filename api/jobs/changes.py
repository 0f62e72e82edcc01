"""Create and update Jobs: a definition is stored, and then Temporal is told of it; if it refuses, it is deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

from pydantic import ValidationError
from starlette.requests import Request

from api.auth_sessions.lookup import require_auth_session
from api.dependencies import Services
from api.http.json_body import read_json_object
from api.jobs.lines import is_ndjson, read_job_lines
from api.projects.lookup import check_parameters
from api.request_secrets import definitely_not_started
from projects.job_definition import check_auth_session, check_item, discard_definition
from projects.manifest import Manifest
from schemas.errors import CallboardError, Conflict, NotFound
from schemas.rest.field_errors import field_error, validation_error
from schemas.rest.jobs import CreateJob, JobCreated, JobHead, JobUpdated, NewJobHead, PayloadItem, UpdateJob
from schemas.rest.json_text import validate_body
from schemas.workflow.job import JobDefinition, JobRef, JobSource
from telemetry.log_context import add_log_fields
from temporal.jobs import JobState, require_source

JSON_LIMIT = 8 * 1024 * 1024
"""Largest Job in bytes that is sent as one JSON object."""


async def create_job(services: Services, manifest: Manifest, request: Request) -> JobCreated:
    """Create the Job that the request sends, as JSON or as lines.

    Raises:
        BadRequest: A field is wrong.
        Conflict: There is a Job with this id.
        ConfigurationError: Something must be sealed, and there is no key to seal it with.
        StoreError, Unavailable: It is not known that the Job was created.
    """
    head, items = await _read(services, manifest, request, CreateJob, NewJobHead)
    add_log_fields(jobId=head.id)
    await _refuse_known(services, manifest.project, head.id)
    definition = await _define(services, manifest, head.id, head, items)
    ref = JobRef(
        workspace=definition.workspace,
        project=definition.project,
        job_id=definition.job_id,
        definition=definition.ref,
        created_at=datetime.now(UTC),
    )
    try:
        await services.jobs.create(ref, definition.schedule)
    except CallboardError as error:
        await _discard(services, definition, error)
        raise
    return JobCreated(id=head.id)


async def update_job(services: Services, manifest: Manifest, job_id: str, request: Request) -> JobUpdated:
    """Replace all of a Job but its id. Raises what `create_job` raises, and NotFound if there is no such Job."""
    state = await get_job(services, manifest.project, job_id)
    require_source(state.ref, JobSource.API)
    head, items = await _read(services, manifest, request, UpdateJob, JobHead)
    definition = await _define(services, manifest, job_id, head, items)
    try:
        await services.jobs.update(
            definition.workspace, definition.project, job_id, definition.ref, definition.schedule
        )
    except CallboardError as error:
        await _discard(services, definition, error)
        raise
    return JobUpdated(id=job_id)


async def get_job(services: Services, project: str, job_id: str) -> JobState:
    """Return a Job of a project. Raises NotFound or Unavailable."""
    return await services.jobs.get(services.settings.workspace, project, job_id)


async def _read[Head: JobHead, Whole: JobHead](
    services: Services, manifest: Manifest, request: Request, whole: type[Whole], head: type[Head]
) -> tuple[Head | Whole, AsyncIterator[PayloadItem]]:
    """Return a Job without its payload, and the items of that, each of which is checked when it is read.

    Args:
        services: The services of the request.
        manifest: The project of the Job.
        request: The request, with JSON or with lines.
        whole: The model of the Job as JSON.
        head: The model of the first line.
    """
    check = partial(_check_item, services, manifest)
    if is_ndjson(request):
        lines = await read_job_lines(request, head, services.settings.job_limit)
        return lines.head, lines.items(check)
    body = await read_json_object(request, JSON_LIMIT)
    payload: object = body.get("payload")
    if not isinstance(payload, list):
        validate_body(whole, body)
    items = cast("list[Any]", payload)
    return validate_body(whole, {**body, "payload": []}), _items(items, whole, check)


async def _items(
    payload: Sequence[Any], whole: type[JobHead], check: Callable[[PayloadItem, int], Awaitable[None]]
) -> AsyncIterator[PayloadItem]:
    """Yield the items of a payload. Raises BadRequest for the first one that is wrong."""
    for index, given in enumerate(payload):
        try:
            item = PayloadItem.model_validate(given)
        except ValidationError as error:
            raise validation_error(error, whole, "payload", index) from error
        await check(item, index)
        yield item


async def _check_item(services: Services, manifest: Manifest, item: PayloadItem, index: int) -> None:
    """Check an item of a payload as a start is checked. Raises BadRequest or StoreError."""
    check_item(manifest, item, index)
    if manifest.settings.api_access.validate_parameters:
        await check_parameters(services, manifest, item.api_name, item.parameters, "payload", index, "parameters")


async def _refuse_known(services: Services, project: str, job_id: str) -> None:
    """Refuse the id of a Job that exists, before its payload is read. Temporal sees to it that none is made twice."""
    try:
        await get_job(services, project, job_id)
    except NotFound:
        return
    raise Conflict(f"There is a Job {job_id} already. Update it, or choose another id.")


async def _define(
    services: Services, manifest: Manifest, job_id: str, head: JobHead, items: AsyncIterator[PayloadItem]
) -> JobDefinition:
    check_auth_session(manifest, head)
    if head.auth_session is not None:
        try:
            await require_auth_session(services, manifest.project, head.auth_session.id)
        except NotFound as error:
            path = "auth_session.id"
            message = f"{path}: {error.message}"
            raise field_error(path, "the id of an AuthSession of the project", message) from error
    return await services.job_definer.define(manifest, job_id, head, items)


async def _discard(services: Services, definition: JobDefinition, error: CallboardError) -> None:
    if definitely_not_started(error):
        await discard_definition(services.store, definition.project, definition.job_id, definition.ref)
