"""Create and update Jobs: a definition is stored, and then Temporal is told of it; if it refuses, it is deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial

from starlette.requests import Request

from api.auth_sessions.lookup import require_auth_session
from api.dependencies import Services
from api.http.json_body import read_json_object, validate_body
from api.jobs.lines import is_ndjson, read_job_lines
from api.projects.parameters import check_parameters
from api.request_secrets import definitely_not_started
from projects.job_definition import check_auth_session, check_item, discard_definition
from projects.manifest import Manifest
from schemas.errors import CallboardError, Conflict, NotFound
from schemas.rest.field_errors import field_error
from schemas.rest.jobs import CreateJob, JobCreated, JobHead, JobUpdated, NewJobHead, PayloadItem, UpdateJob
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
    check = partial(_check_item, services, manifest)
    if is_ndjson(request):
        lines = await read_job_lines(request, NewJobHead, services.settings.job_limit)
        head, items = lines.head, lines.items(check)
    else:
        head = validate_body(CreateJob, await read_json_object(request, JSON_LIMIT))
        items = _checked(head.payload, check)
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
    check = partial(_check_item, services, manifest)
    if is_ndjson(request):
        lines = await read_job_lines(request, JobHead, services.settings.job_limit)
        head, items = lines.head, lines.items(check)
    else:
        head = validate_body(UpdateJob, await read_json_object(request, JSON_LIMIT))
        items = _checked(head.payload, check)
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


async def _checked(
    items: Sequence[PayloadItem], check: Callable[[PayloadItem, int], Awaitable[None]]
) -> AsyncIterator[PayloadItem]:
    for index, item in enumerate(items):
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
