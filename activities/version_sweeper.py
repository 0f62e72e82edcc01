"""Remove versions that nobody needs any more, with the packages and the records that belong to them alone.

A version is old when it has been neither stored nor the deployed one for long: its manifest is written anew at the
beginning and at the end of each such time. It stays while it is the deployed one, and while a Run or JobRun that has
not ended executes it. It is looked at once more right before it is removed, since a deploy may have taken it up again.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from callboard.projects.manifest import is_version, read_current, read_manifest
from callboard.projects.project_settings import is_project_name
from callboard.projects.version_history import version_of_record
from callboard.schemas.errors import StoreError
from callboard.schemas.workflow.sweep import SweepTotals
from callboard.storage import object_keys
from callboard.storage.store import Store
from callboard.temporal.open_runs import OpenRuns

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class VersionSweeper:
    """Removes old versions of all projects."""

    store: Store
    open_runs: OpenRuns
    retention: timedelta
    """How long a version stays after it was stored, or the deployed one, last."""

    async def sweep(self) -> SweepTotals:
        """Remove what is old enough. A project whose objects cannot be removed holds up no other.

        Raises:
            StoreError: The store cannot be listed; repeating helps.
            Unavailable, ConfigurationError: Temporal cannot say which versions are executed.
        """
        before, totals = datetime.now(UTC) - self.retention, SweepTotals()
        for project, newest in (await self._stored_versions()).items():
            old = {version for version, at in newest.items() if at < before}
            if not old:
                continue
            try:
                removed = await self._sweep_project(project, old, before)
            except StoreError as error:
                log.warning("Old versions of project %s stay in the artifact store: %s", project, error.message)
                totals = totals.plus(SweepTotals(failed=1, failure=error.message))
            else:
                totals = totals.plus(SweepTotals(versions=removed))
        return totals

    async def _stored_versions(self) -> Mapping[str, Mapping[str, datetime]]:
        """Return when anything of each version was written last, by project and version."""
        newest: dict[str, dict[str, datetime]] = defaultdict(dict)
        async for entry in self.store.entries(object_keys.PROJECTS):
            match entry.key.split("/"):
                case [_, project, "versions", version, _] if is_project_name(project) and is_version(version):
                    known = newest[project].get(version, entry.modified)
                    newest[project][version] = max(known, entry.modified)
                case _:
                    pass
        return newest

    async def _sweep_project(self, project: str, old: set[str], before: datetime) -> int:
        """Remove these versions unless they are in use, and return how many."""
        used = await self.open_runs.versions(project)
        removed: set[str] = set()
        for version in sorted(old - used):
            current = await read_current(self.store, project)
            entries = [entry async for entry in self.store.entries(object_keys.version(project, version))]
            is_current = current is not None and current.version == version
            if is_current or any(entry.modified >= before for entry in entries):
                continue
            await self.store.delete(object_keys.manifest(project, version))  # from here on, nobody begins to use it
            for entry in entries:
                await self.store.delete(entry.key)
            removed.add(version)
        if removed:
            async for key in self.store.list(object_keys.deploy_records(project)):
                if version_of_record(key) in removed:
                    await self.store.delete(key)
            await self._remove_environments(project, before)
        return len(removed)

    async def _remove_environments(self, project: str, before: datetime) -> None:
        """Remove the old lists of packages that no version of the project has."""
        old = [
            entry.key
            async for entry in self.store.entries(object_keys.environments(project))
            if entry.modified < before
        ]
        if not old:
            return
        needed: set[str] = set()
        async for key in self.store.list(object_keys.versions(project)):
            if key.endswith("/manifest.json"):
                manifest = await read_manifest(self.store, project, key.split("/")[-2])
                own = manifest and manifest.environment
                if own is not None and own.declaration is not None:
                    needed.add(object_keys.environment(project, own.declaration))
        for key in old:
            if key not in needed:
                await self.store.delete(key)
