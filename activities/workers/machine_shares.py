"""A worker's shares of the projects' Machines: what it may have, and what counts as held by it."""

from __future__ import annotations

from collections.abc import Collection, Mapping


class MachineShares:
    """The shares of a worker, by the last answer of the workflow `Fleet`.

    The workflow counts the larger of two numbers of each project: the share that it has given, and what the worker has
    said to hold when it asked. `most` is that number, so no pool may be larger at any moment.
    """

    def __init__(self) -> None:
        self._shares: dict[str, int] = {}
        self._most: dict[str, int] = {}

    @property
    def projects(self) -> Collection[str]:
        """The projects of which the worker has a share, or may still hold Machines."""
        return {*self._shares, *self._most}

    def share(self, project: str) -> int:
        """Return how many Machines the worker should have."""
        return self._shares.get(project, 0)

    def most(self, project: str) -> int:
        """Return how many Machines the worker may have, until Attempts that are on their way have ended."""
        return self._most.get(project, 0)

    def declare(self, in_use: Mapping[str, int]) -> dict[str, int]:
        """Return what the worker holds at most from now on, given what is in use now, and hold it to that."""
        held = {project: max(self.share(project), in_use.get(project, 0)) for project in {*self._shares, *in_use}}
        self._most = {project: count for project, count in sorted(held.items()) if count > 0}
        return dict(self._most)

    def grant(self, shares: Mapping[str, int]) -> None:
        """Take over the answer to what was declared last."""
        self._shares = dict(shares)
        self._most = {project: max(shares.get(project, 0), self.most(project)) for project in {*shares, *self._most}}

    def revoke(self) -> None:
        """Take everything away: the lease is over."""
        self._shares, self._most = {}, {}
