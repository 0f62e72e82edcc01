"""Remove artifacts of Runs and JobRuns that ended long enough ago, definitions of Jobs that nobody needs, and uploads.

A Run is examined when its newest artifact is old: what a Delivery writes for it later keeps all of its artifacts. They
stay while the Run is in flight, and until its end is long enough ago. For a Run that Temporal no longer knows, only the
age of its artifacts counts. Its artifacts are listed anew right before they are removed, since a start with the same
Idempotency-Key may have started it once more.

A JobRun is treated as a Run is. A definition of a Job stays while the Job has it, or had it a short time ago, and while
Temporal knows a JobRun that executes it, or has executed it. An upload goes by its age alone: one that was deployed is
gone before, and no workflow has the id of an upload.

What stays is counted on the way, by project and kind, for whoever wants to know what the store holds.

At its end, a sweep removes old entries of the audit by whole days, marks of ended sessions of the pages that would have
ended by themselves meanwhile, and versions that nobody needs (`activities/version_sweeper.py`).

Sweeps may run concurrently: removing what is gone already is no error.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from temporalio.client import Client

from activities.version_sweeper import VersionSweeper
from callboard.schemas.errors import NotFound, StoreError
from callboard.schemas.workflow import names
from callboard.schemas.workflow.sweep import StoredCount, StoredKind, SweepPart, SweepPartResult, SweepTotals
from callboard.storage import object_keys
from callboard.storage.audit_log import AuditLog
from callboard.storage.store import Store
from callboard.temporal.jobs import is_definition_needed
from callboard.temporal.open_runs import OpenRuns
from callboard.temporal.rpc_errors import RPC_TIMEOUT, translate_rpc_errors

log = logging.getLogger(__name__)

_CONCURRENT_RUNS = 4
"""How many Runs are examined at the same time: a store has few connections, and Attempts need them more."""
_MAX_RUNS = 2_000
"""How many Runs one part examines at most."""
_MAX_SEEN = 1_000
"""After how many Runs at most those that are due are examined, though they are few."""
_MAX_DURATION = timedelta(minutes=5)
"""Time after which a part ends, however far it is."""

_CLOCKS_DIFFER_BY = timedelta(hours=1)
"""By how much the clock of this host may be ahead of that of an api, which must not accept a session again."""

_SWEPT = (object_keys.JOB_RUNS, object_keys.JOBS, object_keys.RUNS, object_keys.UPLOADS)
"""The prefixes of all that is swept, in ascending order, so that one key says how far a sweep has come."""
_COUNTED = {
    object_keys.AUTH_SESSIONS: StoredKind.LOGINS,
    object_keys.PROJECTS: StoredKind.VERSIONS,
    object_keys.VALUES: StoredKind.VALUES,
}
"""The prefixes of what is not swept, but counted."""
_OF_ATTEMPTS = {
    "trace.zip": StoredKind.TRACES,
    "log.jsonl": StoredKind.LOGS,
    "log": StoredKind.LOGS,
    "screenshot.png": StoredKind.SCREENSHOTS,
    "files": StoredKind.FILES,
}


@dataclass
class ArtifactGroup:
    """What the store holds of one Run, JobRun, definition of a Job or upload; these are removed together."""

    project: str
    id: str
    """The id of the Run, the JobRun, the Job or the upload."""
    prefix: str
    newest: datetime
    definition: str | None = None
    """`JobDefinition.ref`; None for all but definitions of Jobs."""
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    """How many objects of each kind it has, and how many bytes these have."""
    is_gone: bool = False

    @property
    def key_after(self) -> str:
        """A key that sorts after all keys of this group, and before those of the next one."""
        return self.prefix.removesuffix("/") + "0"  # the character after the slash


@dataclass
class SweepProgress:
    """How far a part has come. It is sent with the heartbeats, so that the next try can go on from there."""

    after: str
    """The key up to which the part has come."""
    totals: SweepTotals
    stored: StoredCount = field(default_factory=StoredCount)
    """What stays of all up to there."""

    @classmethod
    def resume(cls, part: SweepPart, heartbeat_details: Sequence[object]) -> SweepProgress:
        """Return the progress of the try before this one, or the beginning of the part if there was none."""
        if not heartbeat_details:
            return cls(part.after, SweepTotals())
        last = SweepPartResult.model_validate(heartbeat_details[0])
        totals = last.totals.model_copy(update={"stored": {}})
        return cls(last.after or part.after, totals, StoredCount(last.totals.stored))

    def result(self) -> SweepPartResult:
        """Return the result of a part that ends here, with more to come after it."""
        return SweepPartResult(after=self.after, totals=self.totals.plus(SweepTotals(stored=self.stored.stored)))

    def pass_by(self, groups: Sequence[ArtifactGroup]) -> None:
        """Note that the part has come by these groups, the last ones before what comes next."""
        for group in groups:
            self.after = group.key_after
            if not group.is_gone:
                self.stored.add(group.project, group.sizes)


@dataclass(frozen=True)
class ArtifactSweeper:
    """Removes old artifacts, part by part."""

    client: Client
    """Tells which Runs are in flight, and when the others ended. Its namespace is the only one of the store."""
    store: Store
    audit_retention: timedelta
    """How long entries of the audit are kept."""
    max_runs: int = _MAX_RUNS
    max_duration: timedelta = _MAX_DURATION
    version_retention: timedelta = timedelta(days=30)
    """How long versions stay that nobody needs; they are looked at when all Runs have been examined."""

    async def sweep(self, part: SweepPart, progress: SweepProgress) -> SweepPartResult:
        """Examine a part of the Runs from where `progress` is, which is updated on the way.

        Raises:
            StoreError: The store cannot be listed; repeating helps.
            Unavailable, ConfigurationError: Temporal cannot say which Runs are in flight.
        """
        if not await self._sweep_runs(part, progress):
            return progress.result()
        await self._sweep_audit()
        await self._sweep_sessions()
        for prefix in (object_keys.AUDIT, object_keys.ENDED_SESSIONS, *_SWEPT):
            await self.store.tidy(prefix, part.before)
        versions = VersionSweeper(self.store, OpenRuns(self.client), self.version_retention)
        totals = progress.totals.plus(await versions.sweep())
        others = await self._count_others()
        return SweepPartResult(totals=totals.plus(SweepTotals(stored=progress.stored.stored)).plus(others))

    async def _count_others(self) -> SweepTotals:
        """Count what the store holds of projects that is not swept with Runs."""
        count = StoredCount()
        for prefix, kind in _COUNTED.items():
            async for entry in self.store.entries(prefix):
                match entry.key.split("/"):
                    case [_, project, _, *_]:
                        count.add(project, {kind: (1, entry.size)})
                    case _:
                        pass  # it belongs to no project
        return SweepTotals(stored=count.stored)

    async def _sweep_audit(self) -> None:
        """Remove old entries of the audit; what is left after the longest time of a part is left to the next sweep."""
        deadline = asyncio.get_running_loop().time() + self.max_duration.total_seconds()
        first_day = (datetime.now(UTC) - self.audit_retention).date()
        removed = await AuditLog(self.store).remove_before(first_day, deadline)
        if removed:
            log.info("%d entries of the audit from before %s were removed", removed, first_day)

    async def _sweep_sessions(self) -> None:
        until = object_keys.ended_sessions_until(int((datetime.now(UTC) - _CLOCKS_DIFFER_BY).timestamp()))
        for key in [each async for each in self.store.list(object_keys.ENDED_SESSIONS) if each < until]:
            await self.store.delete(key)

    async def _sweep_runs(self, part: SweepPart, progress: SweepProgress) -> bool:
        """Examine the Runs of this part, and tell whether the end of the store was reached."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.max_duration.total_seconds()
        due: list[ArtifactGroup] = []
        seen: list[ArtifactGroup] = []
        examined = 0
        async with aclosing(_stored_groups(self.store, progress.after)) as runs:
            async for run in runs:
                seen.append(run)
                if run.newest < part.before:
                    due.append(run)
                is_full = examined + len(due) >= self.max_runs or loop.time() > deadline
                if due and (is_full or len(due) == _CONCURRENT_RUNS or len(seen) == _MAX_SEEN):
                    examined += len(due)
                    progress.totals = progress.totals.plus(await self._remove_all(due, part.before))
                    due = []
                if not due:
                    progress.pass_by(seen)
                    seen = []
                if is_full:
                    return False
        progress.totals = progress.totals.plus(await self._remove_all(due, part.before))
        progress.pass_by(seen)
        return True

    async def _remove_all(self, runs: list[ArtifactGroup], before: datetime) -> SweepTotals:
        """Remove the artifacts of the Runs that are over. If one fails, raise after all have been tried."""
        totals = SweepTotals()
        for removed in await asyncio.gather(*(self._remove(run, before) for run in runs), return_exceptions=True):
            if isinstance(removed, BaseException):
                raise removed
            totals = totals.plus(removed)
        return totals

    async def _remove(self, run: ArtifactGroup, before: datetime) -> SweepTotals:
        if not await self._is_over(run, before):
            return SweepTotals()
        try:
            entries = [entry async for entry in self.store.entries(run.prefix)]
            if not entries or any(entry.modified >= before for entry in entries):
                return SweepTotals()
            for entry in entries:
                await self.store.delete(entry.key)
            run.is_gone = True
        except StoreError as error:
            log.warning("%s stays in the artifact store: %s", run.prefix, error.message)
            return SweepTotals(failed=1, failure=error.message)
        is_run = run.definition is None and not run.prefix.startswith(object_keys.UPLOADS)
        return SweepTotals(runs=int(is_run), artifacts=len(entries))

    async def _is_over(self, group: ArtifactGroup, before: datetime) -> bool:
        """Tell whether the Run, or the JobRun, ended before then, or is not known any more."""
        if group.definition is not None:
            with translate_rpc_errors():
                return not await is_definition_needed(
                    self.client, group.project, group.id, group.definition, after=before
                )
        try:
            with translate_rpc_errors():
                run = await self.client.get_workflow_handle(group.id).describe(rpc_timeout=RPC_TIMEOUT)
        except NotFound:
            return True
        return run.close_time is not None and run.close_time < before


async def _stored_groups(store: Store, after: str) -> AsyncGenerator[ArtifactGroup]:
    """Yield the groups that have artifacts behind the key `after`, in the order of their keys. Raises StoreError."""
    for prefix in _SWEPT:
        group: ArtifactGroup | None = None
        async for entry in store.entries(prefix, after=after):
            found = _group_of(entry.key, entry.modified)
            if found is None:
                continue  # Callboard did not write it
            if group is not None and group.prefix == found.prefix:
                group.newest = max(group.newest, found.newest)
            else:
                if group is not None:
                    yield group
                group = found
            kind = _kind_of(entry.key)
            objects, size = group.sizes.get(kind, (0, 0))
            group.sizes[kind] = (objects + 1, size + entry.size)
        if group is not None:
            yield group


def _group_of(key: str, modified: datetime) -> ArtifactGroup | None:
    kind, _, rest = key.partition("/")
    match f"{kind}/", rest.split("/"):
        case object_keys.RUNS, [project, run_id, _, *_] if names.is_run_id(run_id):
            return ArtifactGroup(project, run_id, object_keys.run(project, run_id), modified)
        case object_keys.JOB_RUNS, [project, job_run_id, _, *_] if names.is_job_run_id(job_run_id):
            return ArtifactGroup(project, job_run_id, object_keys.job_run(project, job_run_id), modified)
        case object_keys.JOBS, [project, job_id, ref, _, *_] if names.is_job_id(job_id):
            return ArtifactGroup(
                project, job_id, object_keys.job_definition_prefix(project, job_id, ref), modified, ref
            )
        case object_keys.UPLOADS, [project, upload_id, _, *_]:
            return ArtifactGroup(project, upload_id, object_keys.upload(project, upload_id), modified)
        case _:
            return None


def _kind_of(key: str) -> StoredKind:
    """Return the kind of an object that is swept."""
    match key.split("/"):
        case ["runs", _, _, "attempts", _, name, *_]:
            return _OF_ATTEMPTS.get(name, StoredKind.RUNS)
        case ["runs", *_]:
            return StoredKind.RUNS
        case ["uploads", *_]:
            return StoredKind.UPLOADS
        case _:
            return StoredKind.JOBS
