"""Every shape that workflows can take: played by the tests, and recorded by `hosting/scripts/record_histories.py`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext

from temporalio.client import Client, WorkflowHistory

# Each of these modules keeps its shapes.
from tests.support import activity_shapes as activity_shapes
from tests.support import alert_stage as alert_stage
from tests.support import delivery_stage as delivery_stage
from tests.support import deploy_shapes as deploy_shapes
from tests.support import fleet_stage as fleet_stage
from tests.support import handoffs as handoffs
from tests.support import inbox_stage as inbox_stage
from tests.support import job_run_shapes as job_run_shapes
from tests.support import login_run_shapes as login_run_shapes
from tests.support import run_shapes as run_shapes
from tests.support import session_shapes as session_shapes
from tests.support import validate_shapes as validate_shapes
from tests.support.stage import SHAPES, Server, Stage
from tests.support.temporal_servers import held_client

type Play[S: Stage] = Callable[[str], Awaitable[S]]
"""Plays a shape, by its name, to its end; the stage, to see what happened."""


def histories_of(shape: str) -> list[str]:
    """The names of what is recorded of a shape at least."""
    return [f"{shape}{suffix}" for suffix in SHAPES[shape].recorded]


def shapes_of(stage: type[Stage]) -> list[str]:
    """The names of the shapes that are played on such a stage."""
    return [name for name, shape in SHAPES.items() if shape.stage is stage]


@asynccontextmanager
async def played[S: Stage](kind: type[S], shape: str, client: Client, name: str) -> AsyncGenerator[S]:
    """The stage on which all of a shape has happened, on the client's server or one of its own."""
    kept = SHAPES[shape]
    own = kept.server is Server.OWN_SKIPPING
    async with held_client() if own else nullcontext(client) as client, kept.stage(client, name) as stage:
        assert isinstance(stage, kind)
        await kept.play(stage)
        yield stage


@asynccontextmanager
async def playing[S: Stage](kind: type[S], client: Client, name: str) -> AsyncGenerator[Play[S]]:
    """What plays shapes, on stages that last as long as the block."""
    async with AsyncExitStack() as stages:

        async def play(shape: str) -> S:
            return await stages.enter_async_context(played(kind, shape, client, name))

        yield play


async def record(shape: str, client: Client) -> dict[str, WorkflowHistory]:
    """Play a shape on the client's server or one of its own; what is recorded of it, by name."""
    found: dict[str, WorkflowHistory] = {}
    async with played(Stage, shape, client, shape) as stage:
        for suffix, history in await stage.histories():
            if suffix in SHAPES[shape].recorded:
                name = f"{shape}{suffix}"
                count = sum(each.startswith(name) for each in found)
                found[name if count == 0 else f"{name}-{count + 1}"] = history
    return found
