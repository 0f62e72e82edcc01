"""Decide which worker may have how many Machines of which project: a pure function, without clock and without chance.

Projects are placed on as few workers as their Machines need, on those that have most room, and stay where they are. A
worker may be given more than it can have up at once if there is no room anywhere, since most projects are idle: then
projects without Attempts move from workers with a larger load to those with a smaller one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

Shares = dict[str, dict[str, int]]
"""Number of Machines, by worker and project."""


@dataclass(frozen=True)
class Member:
    """One worker that may get Machines."""

    capacity: int
    """How many Machines it can have at once, over all projects."""
    projects: frozenset[str]
    """Projects that it serves."""
    most_per_project: int | None = None
    shares: Mapping[str, int] = field(default_factory=dict[str, int])
    """What it has been given before, by project."""
    used: Mapping[str, int] = field(default_factory=dict[str, int])
    """How many Attempts it has accepted, by project."""


def limit_sizes(sizes: Mapping[str, int], limit: int | None) -> dict[str, int]:
    """Return how many Machines each project may have if they may have no more than `limit` together.

    Machines are taken from the largest projects, so that each project has one as long as there are enough for that.

    Args:
        sizes: How many Machines each project may have by itself. What cannot be divided evenly is for the first ones.
        limit: How many they may have together; None for any number.
    """
    if limit is None or sum(sizes.values()) <= limit:
        return dict(sizes)

    def needed(level: int) -> int:
        return sum(min(size, level) for size in sizes.values())

    level = bisect_right(range(limit + 1), limit, key=needed) - 1
    left = limit - needed(level)
    limited: dict[str, int] = {}
    for project, size in sizes.items():
        more = size > level and left > 0
        left -= more
        limited[project] = min(size, level) + more
    return limited


def allocate(sizes: Mapping[str, int], members: Mapping[str, Member]) -> Shares:
    """Return the shares of all workers.

    Args:
        sizes: How many Machines each project may have. The shares of a project never add up to more.
        members: The workers. None gets more of a project than its capacity and its `most_per_project`.
    """
    return _Allocation(sizes, members).run()


class _Allocation:
    """One computation; `run` is called once."""

    def __init__(self, sizes: Mapping[str, int], members: Mapping[str, Member]) -> None:
        self._sizes = sizes
        self._members = {name: members[name] for name in sorted(members)}
        self._shares: Shares = {}
        self._holders: dict[str, list[str]] = {project: [] for project in sorted(sizes)}
        """Workers that serve each project."""
        for name, member in self._members.items():
            self._shares[name] = {}
            for project in sorted(member.projects & sizes.keys()):
                self._holders[project].append(name)
                share = min(member.shares.get(project, 0), self._limit(name, project))
                if share > 0:
                    self._shares[name][project] = share
        self._load = {name: sum(shares.values()) for name, shares in self._shares.items()}

    def run(self) -> Shares:
        for project in self._holders:
            self._trim(project)
            self._serve_accepted(project)
        for project in sorted(self._holders, key=lambda project: (-self._missing(project), project)):
            self._place(project)
        self._relieve()
        return self._shares

    def _trim(self, project: str) -> None:
        """Take away what is more than the project may have: first what is not used, and from the larger load."""
        while (surplus := -self._missing(project)) > 0:
            name = max(
                (name for name in self._holders[project] if self._share(name, project)),
                key=lambda name: (self._unused(name, project) > 0, self._ratio(name), name),
            )
            unused = self._unused(name, project)
            self._change(name, project, -min(surplus, unused if unused > 0 else self._share(name, project)))

    def _serve_accepted(self, project: str) -> None:
        """Give Machines to Attempts that wait for one on their worker, from what others do not use."""
        for name in self._holders[project]:
            wanted = min(self._used(name, project), self._limit(name, project)) - self._share(name, project)
            for other in self._holders[project]:
                short = wanted - self._missing(project)
                if short > 0 and other != name:
                    self._change(other, project, -min(short, max(0, self._unused(other, project))))
            given = min(wanted, self._missing(project))
            if given > 0:
                self._change(name, project, given)

    def _place(self, project: str) -> None:
        """Give what is left of the project to those that have room for it, and else to those with the least load."""
        while (missing := self._missing(project)) > 0:
            able = [name for name in self._holders[project] if self._able(name, project) > 0]
            if not able:
                return
            with_room = [name for name in able if self._room(name) > 0]
            if with_room:
                name = max(with_room, key=lambda name: self._preference(name, project, missing))
                self._change(name, project, min(missing, self._able(name, project), self._room(name)))
            else:
                name = min(able, key=lambda name: (self._ratio(name), name))
                self._change(name, project, min(missing, self._able(name, project)))

    def _preference(self, name: str, project: str, missing: int) -> tuple[bool, bool, int, str]:
        room = self._room(name)
        return min(room, self._able(name, project)) >= missing, self._share(name, project) > 0, room, name

    def _relieve(self) -> None:
        """Move idle projects from workers with more than they can have up to workers with a smaller load."""
        for name in sorted(self._members, key=lambda name: (-self._ratio(name), name)):
            for project in list(self._shares[name]):
                if self._room(name) >= 0:
                    break
                if self._used(name, project) > 0:
                    continue
                share = self._share(name, project)
                able = [
                    other
                    for other in self._holders[project]
                    if other != name
                    and self._able(other, project) >= share
                    and Fraction(self._load[other] + share, self._members[other].capacity) < self._ratio(name)
                ]
                if able:
                    self._change(name, project, -share)
                    self._change(min(able, key=lambda other: (self._ratio(other), other)), project, share)

    def _limit(self, name: str, project: str) -> int:
        member = self._members[name]
        limit = min(self._sizes[project], member.capacity)
        return limit if member.most_per_project is None else min(limit, member.most_per_project)

    def _share(self, name: str, project: str) -> int:
        return self._shares[name].get(project, 0)

    def _used(self, name: str, project: str) -> int:
        return self._members[name].used.get(project, 0)

    def _unused(self, name: str, project: str) -> int:
        return self._share(name, project) - self._used(name, project)

    def _able(self, name: str, project: str) -> int:
        """Return how many more Machines of the project the worker may be given."""
        return self._limit(name, project) - self._share(name, project)

    def _room(self, name: str) -> int:
        return self._members[name].capacity - self._load[name]

    def _ratio(self, name: str) -> Fraction:
        capacity = self._members[name].capacity
        return Fraction(self._load[name], capacity) if capacity else Fraction(self._load[name] + 1, 1)

    def _missing(self, project: str) -> int:
        return self._sizes[project] - sum(self._share(name, project) for name in self._holders[project])

    def _change(self, name: str, project: str, by: int) -> None:
        if by:
            share = self._share(name, project) + by
            if share:
                self._shares[name][project] = share
            else:
                del self._shares[name][project]
            self._load[name] += by
