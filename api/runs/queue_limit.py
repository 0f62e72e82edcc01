"""The setting `replication.maxQueued`: refuse a start while as many Runs of the project wait as may wait."""

from __future__ import annotations

import logging

from api.dependencies import Services
from api.runs.idempotency import RunIdentity
from projects.manifest import Manifest
from schemas.errors import NotFound, TooMany, Unavailable

log = logging.getLogger(__name__)

_RETRY_AFTER = 5
"""Seconds after which a client that was refused may come again."""


async def check_queue(services: Services, manifest: Manifest, identity: RunIdentity) -> None:
    """Check that another Run of the project may wait, and count it.

    Runs are counted about once a second, so somewhat more of them may wait than the project allows if they are started
    within moments. A request that has started its Run before is never refused.

    Raises:
        TooMany: As many Runs wait as the project allows.
        Unavailable: Temporal does not answer.
    """
    limit, project = manifest.settings.replication.max_queued, manifest.project
    if limit is None:
        return
    waiting = await services.queues.count(project, lambda: _read_count(services, project))
    if waiting >= limit and not await _was_started(services, project, identity):
        raise TooMany(
            f"{waiting} Runs of project {project} wait for a Machine, and its setting replication.maxQueued allows "
            f"{limit}. Try again in {_RETRY_AFTER} seconds.",
            retry_after=_RETRY_AFTER,
        )
    services.queues.add(project)


async def _read_count(services: Services, project: str) -> int:
    """Return how many Runs wait; 0 if Temporal cannot say, as a start must not depend on its lists."""
    try:
        return await services.run_queries.count_waiting(project)
    except Unavailable as error:
        log.warning("Runs of project %s that wait for a Machine could not be counted: %s", project, error.message)
        return 0


async def _was_started(services: Services, project: str, identity: RunIdentity) -> bool:
    if not identity.fingerprint:
        return False  # Without an Idempotency-Key, each request is a Run of its own.
    try:
        await services.runs.get_state(services.settings.workspace, project, identity.run_id)
    except NotFound:
        return False
    return True
