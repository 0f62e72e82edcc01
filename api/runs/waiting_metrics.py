"""Tell by a metric how many Runs of each project wait for a Machine, as Temporal's lists count them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from api.dependencies import RunQueries, Services
from projects.catalog import Catalog
from schemas.errors import CallboardError
from telemetry import metrics
from telemetry.health import Liveness

log = logging.getLogger(__name__)

_ROUND_INTERVAL = 15.0
"""Seconds between the beginnings of two rounds, if a round does not take longer."""
_QUERY_INTERVAL = 0.25
"""Least seconds between two queries. A frontend allows each namespace 10 a second by default, and lists of Runs and
clients that wait need some of them."""


@asynccontextmanager
async def published_waiting(services: Services, liveness: Liveness) -> AsyncGenerator[None]:
    """Keep the metric up to date for as long as the block lasts, if somebody can read it."""
    if not metrics.current().is_on:
        yield
        return
    counting = asyncio.create_task(_publish(services.catalog, services.run_queries), name="count waiting Runs")
    liveness.task("The count of waiting Runs", counting)
    try:
        yield
    finally:
        liveness.leave()
        counting.cancel()
        await asyncio.wait({counting})


async def _publish(catalog: Catalog, run_queries: RunQueries) -> None:
    """Count the waiting Runs of all deployed projects, round after round, until cancelled.

    A project that cannot be counted keeps its last number until the next round. One that is not deployed any more has
    none from then on.
    """
    loop = asyncio.get_running_loop()
    counted: set[str] = set()
    while True:
        next_round = loop.time() + _ROUND_INTERVAL
        try:
            projects = await catalog.list_projects()
        except CallboardError as error:
            log.debug("Waiting Runs are not counted: %s", error.message)
            projects = []
        else:
            for gone in counted.difference(projects):
                metrics.current().runs_waiting(gone, 0)
            counted.intersection_update(projects)
        for project in projects:
            next_query = loop.time() + _QUERY_INTERVAL
            try:
                metrics.current().runs_waiting(project, await run_queries.count_waiting(project))
                counted.add(project)
            except CallboardError as error:
                log.debug("Waiting Runs of project %s are not counted: %s", project, error.message)
            await asyncio.sleep(max(0.0, next_query - loop.time()))
        await asyncio.sleep(max(_QUERY_INTERVAL, next_round - loop.time()))
