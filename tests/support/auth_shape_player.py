"""Plays the shapes that the workflows around an AuthSession can take, and gives what is recorded of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHistory

from tests.support.auth_shapes import LOGIN_SHAPES, Kind
from tests.support.auth_stage import LoginStage
from tests.support.temporal_servers import skipping_stage


@asynccontextmanager
async def played_login(shape: str, client: Client, name: str) -> AsyncGenerator[LoginStage]:
    """The stage on which all of the shape has happened, on the client's server or one that skips time."""
    passes_time = LOGIN_SHAPES[shape].passes_time
    async with skipping_stage(name, LoginStage) if passes_time else LoginStage(client, name) as stage:
        await LOGIN_SHAPES[shape].play(stage)
        yield stage


def login_histories() -> dict[str, list[str]]:
    """What is recorded at least, by shape."""
    return {name: [f"{name}.{kind}" for kind in shape.recorded] for name, shape in LOGIN_SHAPES.items()}


async def histories(shape: str, stage: LoginStage) -> dict[str, WorkflowHistory]:
    """What is recorded of the shape, by its name."""
    found: dict[str, WorkflowHistory] = {}
    for kind, history in sorted(await _all(stage), key=lambda each: each[1].events[0].event_time.ToNanoseconds()):
        if kind in LOGIN_SHAPES[shape].recorded:
            name = f"{shape}.{kind}"
            count = sum(each.startswith(name) for each in found)
            found[name if count == 0 else f"{name}-{count + 1}"] = history
    return found


async def _all(stage: LoginStage) -> list[tuple[Kind, WorkflowHistory]]:
    found: list[tuple[Kind, WorkflowHistory]] = []
    ids = [stage.run_id, stage.validate_id, stage.session.id]
    for workflow_id in ids:  # which grows meanwhile
        events = await stage.events(workflow_id)
        while events:
            begun = events[0].workflow_execution_started_event_attributes
            begun.workflow_id = workflow_id  # which a server that skips time leaves out
            found.append((Kind(begun.workflow_type.name.lower()), WorkflowHistory(workflow_id, events)))
            for event in events:
                if event.event_type == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED:
                    child = event.child_workflow_execution_started_event_attributes.workflow_execution.workflow_id
                    ids += [child] if child not in ids else []
            before = stage.client.get_workflow_handle(workflow_id, run_id=begun.continued_execution_run_id)
            continued = bool(begun.continued_execution_run_id)
            events = [event async for event in before.fetch_history_events()] if continued else []
    return found
