"""How many polls of workers wait at Temporal at once: a frontend lets a namespace have so many of each kind only."""

from __future__ import annotations

from collections.abc import Collection

from temporal.fleet_view import FleetView, ProjectMachines

MAX_PROJECT_POLLS = 5
"""How many polls of one project a worker has at most; one while the project is idle, as there may be a thousand idle
ones."""
QUEUE_POLLS = 5
"""How many polls a worker has of each kind on a queue that all projects share, as the SDK's default."""
_SHARED_QUEUES = 3
"""Task queues of a worker that sequences Runs on which there are activities: `callboard`, `callboard-runs` and
`callboard-deliveries`."""
DEFAULT_FRONTEND_POLLS = 1200
"""How many polls of each kind a namespace may have on each frontend host, unless `frontend.namespaceCount` is set."""
CLOUD_POLLS = 20_000
"""How many polls of each kind Temporal Cloud allows a namespace (docs.temporal.io/cloud/limits)."""


def count_activity_polls(fleet: FleetView, control_workers: Collection[str]) -> tuple[int, int]:
    """Return how many polls for activities there are while all projects are idle, and at most.

    Polls for workflows are fewer, since their number does not grow with that of the projects.

    Args:
        fleet: The workers with their shares of all deployed projects.
        control_workers: The workers that sequence Runs and deliver results.
    """
    always = len(control_workers) * _SHARED_QUEUES * QUEUE_POLLS + len(fleet.workers)  # each has a queue of its own
    idle = sum(max(1, len(project.workers)) for project in fleet.projects.values())
    return always + idle, always + sum(_most_polls(project) for project in fleet.projects.values())


def _most_polls(project: ProjectMachines) -> int:
    """Return how many polls a busy project has. One that no worker serves counts as if one worker did."""
    shares = project.workers.values() or [project.wanted]
    return sum(min(share, MAX_PROJECT_POLLS) for share in shares)
