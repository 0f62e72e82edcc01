"""The metric that tells how many Runs of each project wait for a Machine."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from callboard.projects.catalog import Catalog
from callboard.schemas.errors import CallboardError
from callboard.telemetry import metrics
from callboard.temporal.run_queries import RunQueries

log = logging.getLogger(__name__)

_ROUND_INTERVAL = 15.0
"""Seconds between the beginnings of two rounds, if a round does not take longer."""
_QUERY_INTERVAL = 1.0
"""Least seconds between two queries. A frontend allows each namespace 10 a second by default, for all apis together;
lists of Runs, clients that wait and health checks need most of them."""


@asynccontextmanager
async def published_waiting(catalog: Catalog, run_queries: RunQueries) -> AsyncGenerator[None]:
    """Keep the metric up to date for as long as the block lasts, if somebody can read it."""
    if not metrics.current().is_on:
        yield
        return
    counting = asyncio.create_task(_publish(catalog, run_queries), name="count waiting Runs")
    try:
        yield
    finally:
        counting.cancel()
        await asyncio.wait({counting})


async def _publish(catalog: Catalog, run_queries: RunQueries) -> None:
    """Count the waiting Runs of all deployed projects, round after round, until cancelled."""
    loop = asyncio.get_running_loop()
    counted: set[str] = set()
    while True:
        next_round = loop.time() + _ROUND_INTERVAL
        try:
            await _count_all(catalog, run_queries, counted)
        except CallboardError as error:
            log.debug("Waiting Runs are not counted: %s", error.message)
        except Exception:  # a metric that fails must not end what works
            log.exception("Waiting Runs could not be counted")
        await asyncio.sleep(max(_QUERY_INTERVAL, next_round - loop.time()))


async def _count_all(catalog: Catalog, run_queries: RunQueries, counted: set[str]) -> None:
    """Count the waiting Runs of each project.

    A project that is not reached keeps its last number until the next round. One that is not deployed any more has none
    from then on.

    Raises:
        CallboardError: The store or Temporal does not answer. There is no use in asking on in this round.
    """
    projects = await catalog.list_projects()
    for gone in counted.difference(projects):
        metrics.current().runs_waiting(gone, 0)
    counted.intersection_update(projects)
    # Several apis ask for the same projects, so each begins with another one.
    for project in random.sample(projects, len(projects)):  # it is no secret
        metrics.current().runs_waiting(project, await run_queries.count_waiting(project))
        counted.add(project)
        await asyncio.sleep(_QUERY_INTERVAL)
