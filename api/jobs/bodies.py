"""Answers that show Jobs: their definitions, and what Temporal knows of them."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from api.dependencies import Services
from projects.job_definition import read_definition, shown_items
from schemas.mask import MASK
from schemas.rest.jobs import LISTED_ITEMS, SHOWN_ITEMS, JobBody, JobListItem, JobReason, ProxyBody
from schemas.workflow.job import JobAuth, JobDefinition
from storage.job_payloads import definition_chunks, read_items
from temporal.jobs import JobState

_READ_AT_ONCE = 4
"""How many Jobs of a list are read from the artifact store at once."""


async def job_body(services: Services, state: JobState) -> JobBody:
    """Return a Job by itself. Raises StoreError."""
    definition = await definition_of(services, state)
    fields = _fields(state, definition)
    if definition.payload_count <= SHOWN_ITEMS:
        fields["payload"] = await _items(services, definition, definition.payload_count)
    fields["proxy"] = definition.proxy and definition.proxy.masked_url
    return JobBody(projectId=state.ref.project, next_run_times=list(state.next_run_times), **fields)


async def job_list(services: Services, states: list[JobState]) -> list[JobListItem]:
    """Return Jobs as lists show them. Raises StoreError."""
    places = asyncio.Semaphore(_READ_AT_ONCE)

    async def read(state: JobState) -> JobListItem:
        async with places:
            definition = await definition_of(services, state)
            fields = _fields(state, definition)
            fields["payload"] = await _items(services, definition, min(definition.payload_count, LISTED_ITEMS))
            if state.paused:
                fields["reason"] = JobReason(message=state.note or "The Job is paused.")
            return JobListItem(workspace_id=state.ref.workspace, project_id=state.ref.project, **fields)

    return list(await asyncio.gather(*(read(state) for state in states)))


async def definition_of(services: Services, state: JobState) -> JobDefinition:
    """Return the definition that a Job has now. Raises StoreError."""
    return await read_definition(services.store, state.ref.project, state.ref.job_id, state.ref.definition)


def configured(definition: JobDefinition) -> dict[str, Any]:
    """Return what Jobs and JobRuns are answered with of a definition, with secrets masked."""
    return {
        "configuration": definition.configuration,
        "proxy": None if definition.proxy is None else ProxyBody(url=definition.proxy.masked_url),
        "sink": None if definition.sink is None else _without_nulls(definition.sink.masked()),
        "auth_session": None if definition.auth is None else _auth_session(definition.auth),
        "notifications": [
            {"type": "webhook", "url": webhook.url, "headers": dict.fromkeys(webhook.headers, MASK)}
            for webhook in definition.notifications
        ],
    }


def _fields(state: JobState, definition: JobDefinition) -> dict[str, Any]:
    status: Literal["ACTIVE", "PAUSED"] = "PAUSED" if state.paused else "ACTIVE"
    return {
        **configured(definition),
        "id": state.ref.job_id,
        "schedule": definition.schedule,
        "payload_count": definition.payload_count,
        "created_at": state.ref.created_at,
        "state": status,
        "next_run_time": state.next_run_times[0] if state.next_run_times else None,
        "last_run_time": state.last_run_time,
        "source": state.ref.source,
        "schedule_id": state.schedule_id,
    }


async def _items(services: Services, definition: JobDefinition, count: int) -> list[dict[str, Any]]:
    return shown_items(await read_items(services.store, definition_chunks(definition), 0, count))


def _auth_session(auth: JobAuth) -> dict[str, Any]:
    return {
        "id": auth.id,
        "checkAttempts": auth.check_attempts,
        "createAttempts": auth.create_attempts,
        "saveTrace": auth.save_trace,
    }


def _without_nulls(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
