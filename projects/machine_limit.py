"""The limit on the Machines of all projects together, as deploys keep to it.

Deploys may come from several hosts at the same time, and have only the artifact store in common, of which no more is
asked than plain reads, writes and lists. So a deploy first writes a claim, then looks at the claims of others and at
what is deployed, and goes on only if all of that together is within the limit. Of two deploys at the same time, the one
that writes its claim later sees the claim of the other, or what has become of it. If only claims are in the way, a
deploy withdraws its own and tries again a moment later.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from projects.catalog import Catalog
from projects.manifest import MachineClaim, Manifest
from schemas.errors import ProjectError, StoreError
from storage import keys
from storage.store import Store

_TERM = timedelta(minutes=5)
"""How long a deploy may rely on its claim. It stores little after the claim."""
_FORGOTTEN_AFTER = timedelta(minutes=15)
"""Age at which a claim counts no more: its deploy has died. It is longer than the term, by more than a write takes."""
_PATIENCE = timedelta(seconds=30)
"""How long a deploy waits for the claims of others to be gone."""
_RETRY_SECONDS = (0.1, 0.6)
"""Bounds of the time between two tries, which is random, so that two deploys do not hinder each other again."""
_NO_CLAIMS: Mapping[str, int] = {}
_MOST_NAMES = 5
"""How many other projects an error names."""


class ClaimedMachines:
    """The claim of one deploy, as an async context manager: the pointer to the version is moved within it."""

    def __init__(self, store: Store, project: str, machines: int, limit: int | None) -> None:
        """Set up without claiming anything yet.

        Args:
            store: The artifact store.
            project: The project that is deployed.
            machines: How many Machines it asks for.
            limit: How many all projects may have together; None for any number, and then nothing is claimed.
        """
        self._store = store
        self._project = project
        self._machines = machines
        self._limit = limit
        self._key = keys.machine_claim(uuid.uuid4().hex)
        self._claimed_at = 0.0
        self._others: dict[str, int] = {}
        """The claims of others, by project, as they were read last."""
        self._moves_pointer = False

    async def __aenter__(self) -> Self:
        """Claim the Machines.

        Raises:
            ProjectError: All projects together would have more than the limit.
            StoreError: The store failed.
        """
        if self._limit is not None:
            give_up_at = time.monotonic() + _PATIENCE.total_seconds()
            while not await self._claim(self._limit):
                if time.monotonic() > give_up_at:
                    raise ProjectError(
                        f"{self._project} asks for {self._machines} Machines, and deploys that take place now, or have"
                        f" failed within the last minutes, ask for others ({_name_some(self._others)}). Together they"
                        f" would have more than {self._limit} (CALLBOARD_MAX_MACHINES). Deploy again in a while."
                    )
                await asyncio.sleep(random.uniform(*_RETRY_SECONDS))  # noqa: S311 - it is no secret
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give up the claim, as what is deployed now counts instead; but keep it while that is not certain."""
        if self._limit is not None and (error is None or not self._moves_pointer):
            await self._withdraw()

    async def check(self) -> None:
        """Refuse the deploy if what is deployed of other projects leaves no room for it, without claiming anything.

        Raises:
            ProjectError: All projects together would have more than the limit.
            StoreError: The store failed.
        """
        if self._limit is not None:
            await self._check_room(self._limit)

    def confirm(self) -> None:
        """Check that the claim still counts, just before the pointer is moved.

        From now on, an error does not give up the claim, since a write that failed may still arrive.

        Raises:
            StoreError: The store was too slow.
        """
        if self._limit is not None and _boottime() - self._claimed_at > _TERM.total_seconds():
            raise StoreError(f"The artifact store took too long to store the version of {self._project}. Deploy again.")
        self._moves_pointer = True

    async def _claim(self, limit: int) -> bool:
        """Claim the Machines, unless the claims of others are in the way."""
        self._claimed_at = _boottime()
        granted = False
        try:
            await self._store.put(self._key, MachineClaim(project=self._project, machines=self._machines).to_bytes())
            # Claims are read first: a deploy that is through with its claim has moved its pointer before.
            self._others = await self._read_claims()
            granted = await self._check_room(limit, self._others)
        finally:
            if not granted:
                await self._withdraw()
        return granted

    async def _check_room(self, limit: int, claims: Mapping[str, int] = _NO_CLAIMS) -> bool:
        """Tell whether there is room for the project beside others and their claims.

        Where no project gets more than it has, there is: what is deployed may be mended after the limit was lowered.

        Raises:
            ProjectError: There is none, even if all claims are given up.
        """
        sizes = await self._read_sizes()
        others = {project: machines for project, machines in sizes.items() if project != self._project}
        grows = self._machines > sizes.get(self._project, 0)
        if grows and sum(others.values()) + self._machines > limit:
            raise ProjectError(self._refusal(limit, others))
        if not grows and all(machines <= sizes.get(project, 0) for project, machines in claims.items()):
            return True
        asked = {**claims, self._project: max(self._machines, claims.get(self._project, 0))}
        return sum(max(sizes.get(project, 0), asked.get(project, 0)) for project in {*sizes, *asked}) <= limit

    async def _read_claims(self) -> dict[str, int]:
        """Return the largest claim of other deploys, by project."""
        entries = {entry.key: entry.modified async for entry in self._store.entries(keys.MACHINE_CLAIMS)}
        now = entries.pop(self._key, None)  # by the clock of the store, which the others have, too
        if now is None:
            raise StoreError(f"The artifact store does not list {self._key!r}, which was just written to it.")
        claims: defaultdict[str, int] = defaultdict(int)
        for key, modified in entries.items():
            if now - modified > _FORGOTTEN_AFTER:
                await self._store.delete(key)
            elif (data := await self._store.get(key)) is not None:
                claim = _parse(key, data)
                claims[claim.project] = max(claims[claim.project], claim.machines)
        return claims

    async def _read_sizes(self) -> dict[str, int]:
        """Return how many Machines each deployed project has."""
        catalog = Catalog(self._store)
        others = [project for project in await catalog.list_projects() if project != self._project]
        manifests: list[Manifest | None] = list(await asyncio.gather(*(catalog.get_current(name) for name in others)))
        with suppress(StoreError):  # its files may be damaged: this deploy replaces them
            manifests.append(await catalog.get_current(self._project))
        return {manifest.project: manifest.settings.machines for manifest in manifests if manifest is not None}

    async def _withdraw(self) -> None:
        with suppress(StoreError):  # an old claim counts no more
            await self._store.delete(self._key)

    def _refusal(self, limit: int, others: Mapping[str, int]) -> str:
        taken = sum(others.values())
        having = f"The other projects have {taken} ({_name_some(others)}), so" if others else "So"
        left = max(0, limit - taken)
        return (
            f"{self._project} asks for {self._machines} Machines (replication.maxConcurrentRequests), and all projects"
            f" together may have {limit} (CALLBOARD_MAX_MACHINES). {having} {left} can be had. Lower the number of"
            f" {self._project} or of another project, or raise the limit."
        )


def _name_some(machines: Mapping[str, int]) -> str:
    """Return the projects with their Machines, the largest first."""
    largest = sorted(machines.items(), key=lambda item: (-item[1], item[0]))
    named = [f"{project}: {count}" for project, count in largest[:_MOST_NAMES]]
    if rest := largest[_MOST_NAMES:]:
        named.append(f"{len(rest)} more: {sum(count for _, count in rest)}")
    return ", ".join(named)


def _parse(key: str, data: bytes) -> MachineClaim:
    try:
        return MachineClaim.model_validate_json(data)
    except ValidationError as error:
        raise StoreError(f"The object {key!r} in the artifact store is damaged. Remove it.") from error


def _boottime() -> float:
    """Return the time since the host was started, which nobody sets and which goes on while the host sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
