"""Decide which worker may have how many Machines of which project: a pure function, without clock and without chance.

A project with one or two Machines is placed on one worker if it fits, on the one that has most room, and stays there.
One with more is spread over all workers that have room, also over those that join later. If no worker has room, one may
get more Machines than it can run at once, since most projects are idle: then projects without Attempts move from
workers with a larger load to those with a smaller one.

Its time grows with the Machines that it places or moves. For all others it grows with the number of projects only, not
with that of workers.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field

_PACKED = 2
"""Projects with so many Machines at most stay together: each further worker polls, and keeps a Machine warm."""

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
    """Return the shares of all workers, which never add up to more than the size of a project.

    None gets more of a project than its capacity and its `most_per_project`.
    """
    return _Allocation(sizes, members).run()


class _Allocation:
    """One computation; `run` is called once."""

    def __init__(self, sizes: Mapping[str, int], members: Mapping[str, Member]) -> None:
        self._sizes = sizes
        self._members = {name: members[name] for name in sorted(members)}
        self._shares: dict[str, dict[str, int]] = {project: {} for project in sorted(sizes)}
        """Workers that have Machines, by project."""
        self._load = dict.fromkeys(self._members, 0)
        self._users: dict[str, list[str]] = {}
        """Workers that have accepted Attempts, by project."""
        for name, member in self._members.items():
            for project in (member.shares.keys() | member.used.keys()) & member.projects & sizes.keys():
                self._change(name, project, min(member.shares.get(project, 0), self._limit(name, project)))
                if self._used(name, project) > 0:
                    self._users.setdefault(project, []).append(name)

    def run(self) -> Shares:
        for project in self._shares:
            self._trim(project)
            self._serve_accepted(project)
        missing = {project: count for project in self._shares if (count := self._missing(project)) > 0}
        for project in sorted(missing, key=lambda project: (-missing[project], project)):
            self._place(project)
        while self._relieve() or self._spread_all():
            pass  # until nothing moves any more: each move can make room for another one
        by_worker: Shares = {name: {} for name in self._members}
        for project, shares in self._shares.items():
            for name, share in shares.items():
                by_worker[name][project] = share
        return by_worker

    def _trim(self, project: str) -> None:
        """Take Machines away until the project has no more than it may: idle ones first, and from the larger load."""
        while (surplus := -self._missing(project)) > 0:
            name = max(
                self._shares[project],
                key=lambda name: (self._unused(name, project) > 0, self._ratio(name), name),
            )
            unused = self._unused(name, project)
            self._change(name, project, -min(surplus, unused if unused > 0 else self._share(name, project)))

    def _serve_accepted(self, project: str) -> None:
        """Give Machines to Attempts that wait for one on their worker, from what others do not use."""
        for name in self._users.get(project, ()):
            wanted = min(self._used(name, project), self._limit(name, project)) - self._share(name, project)
            if wanted <= 0:
                continue
            for other in sorted(self._shares[project]):
                short = wanted - self._missing(project)
                if short > 0 and other != name:
                    self._change(other, project, -min(short, max(0, self._unused(other, project))))
            self._change(name, project, min(wanted, self._missing(project)))

    def _place(self, project: str) -> None:
        """Give what is left of the project to those that have room for it, and else to those with the least load."""
        together = self._sizes[project] <= _PACKED
        while (missing := self._missing(project)) > 0:
            able = self._find_able(project)
            if not able:
                return
            with_room = [name for name in able if self._room(name) > 0]
            if not with_room:
                name = min(able, key=lambda name: (self._ratio(name), name))
                self._change(name, project, min(missing, self._able(name, project)))
            elif together:
                name = max(with_room, key=lambda name: self._preference(name, project, missing))
                self._change(name, project, min(missing, self._able(name, project), self._room(name)))
            else:
                self._change(self._emptiest(with_room, project), project, 1)

    def _preference(self, name: str, project: str, missing: int) -> tuple[bool, bool, int, str]:
        room = self._room(name)
        return min(room, self._able(name, project)) >= missing, self._share(name, project) > 0, room, name

    def _relieve(self) -> bool:
        """Move idle projects from workers with more than they can have up to workers with a smaller load.

        Returns:
            Whether any moved. Each move makes the larger of two loads smaller, so that repeated calls come to an end.
        """
        moved = False
        for name in sorted(self._members, key=lambda name: (-self._ratio(name), name)):
            if self._room(name) >= 0:
                continue
            too_many: int | None = None  # for any other worker, from now on
            for project in [project for project, shares in self._shares.items() if name in shares]:
                share, ratio = self._share(name, project), self._ratio(name)
                if self._room(name) >= 0:
                    break
                if self._used(name, project) > 0 or (too_many is not None and share >= too_many):
                    continue
                less_loaded = [other for other in self._members if self._ratio(other, share) < ratio]
                if not less_loaded:
                    too_many = share
                able = [other for other in less_loaded if other != name and self._is_able(other, project, share)]
                if able:
                    self._change(name, project, -share)
                    self._change(min(able, key=lambda other: (self._ratio(other), other)), project, share)
                    moved = True
        return moved

    def _spread_all(self) -> bool:
        """Spread every project, as long as any worker has room; tell whether anything moved."""
        if not any(self._room(name) > 0 for name in self._members):
            return False
        return bool([project for project in self._shares if self._spread(project)])  # all: each makes room for others

    def _spread(self, project: str) -> bool:
        """Move Machines that are not used to workers with room that have at least two fewer; tell whether any moved."""
        moved = False
        while self._sizes[project] > _PACKED and any(share > 1 for share in self._shares[project].values()):
            giving = [name for name in self._shares[project] if self._unused(name, project) > 0]
            taking = [name for name in self._find_able(project) if self._room(name) > 0]
            if not giving or not taking:
                break
            fullest = max(giving, key=lambda name: (self._share(name, project), -self._room(name), name))
            emptiest = self._emptiest(taking, project)
            if self._share(fullest, project) - self._share(emptiest, project) < 2:
                break
            self._change(fullest, project, -1)
            self._change(emptiest, project, 1)
            moved = True
        return moved

    def _emptiest(self, names: list[str], project: str) -> str:
        """Return the worker with the fewest Machines of the project; of several, the one that has most room."""
        return min(names, key=lambda name: (self._share(name, project), -self._room(name), name))

    def _find_able(self, project: str) -> list[str]:
        """Return the workers that may be given one more Machine of the project, whether or not they have room."""
        return [name for name in self._members if self._is_able(name, project, 1)]

    def _is_able(self, name: str, project: str, count: int) -> bool:
        return project in self._members[name].projects and self._able(name, project) >= count

    def _limit(self, name: str, project: str) -> int:
        member = self._members[name]
        limit = min(self._sizes[project], member.capacity)
        return limit if member.most_per_project is None else min(limit, member.most_per_project)

    def _share(self, name: str, project: str) -> int:
        return self._shares[project].get(name, 0)

    def _used(self, name: str, project: str) -> int:
        return self._members[name].used.get(project, 0)

    def _unused(self, name: str, project: str) -> int:
        return self._share(name, project) - self._used(name, project)

    def _able(self, name: str, project: str) -> int:
        """Return how many more Machines of the project the worker may be given."""
        return self._limit(name, project) - self._share(name, project)

    def _room(self, name: str) -> int:
        return self._members[name].capacity - self._load[name]

    def _ratio(self, name: str, more: int = 0) -> float:
        """Return the load of the worker with so many more Machines, as a part of its capacity."""
        capacity = self._members[name].capacity
        load = self._load[name] + more
        return load / capacity if capacity else load + 1

    def _missing(self, project: str) -> int:
        return self._sizes[project] - sum(self._shares[project].values())

    def _change(self, name: str, project: str, by: int) -> None:
        if by:
            self._load[name] += by
            share = self._share(name, project) + by
            if share:
                self._shares[project][name] = share
            else:
                del self._shares[project][name]
