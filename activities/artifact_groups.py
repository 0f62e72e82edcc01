"""List what the artifact store holds of Runs, of JobRuns and of definitions of Jobs, one after the other."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime

from schemas.workflow import names
from storage import keys
from storage.store import Store

SWEPT = (keys.JOB_RUNS, keys.JOBS, keys.RUNS)
"""The prefixes of all that is swept, in ascending order, so that one key says how far a sweep has come."""


@dataclass
class ArtifactGroup:
    """What the store holds of one Run, one JobRun or one definition of a Job; these are removed together."""

    project: str
    id: str
    """The id of the Run, the JobRun, or the Job."""
    prefix: str
    newest: datetime
    definition: str | None = None
    """`JobDefinition.ref`; None for a Run or a JobRun."""

    @property
    def key_after(self) -> str:
        """A key that sorts after all keys of this group, and before those of the next one."""
        return self.prefix.removesuffix("/") + "0"  # the character after the slash


async def stored_groups(store: Store, after: str) -> AsyncGenerator[ArtifactGroup]:
    """Yield the groups that have artifacts behind the key `after`, in the order of their keys. Raises StoreError."""
    for prefix in SWEPT:
        group: ArtifactGroup | None = None
        async for entry in store.entries(prefix, after=after):
            found = _group_of(entry.key, entry.modified)
            if found is None:
                continue  # Callboard did not write it
            if group is not None and group.prefix == found.prefix:
                group.newest = max(group.newest, found.newest)
                continue
            if group is not None:
                yield group
            group = found
        if group is not None:
            yield group


def _group_of(key: str, modified: datetime) -> ArtifactGroup | None:
    kind, _, rest = key.partition("/")
    match f"{kind}/", rest.split("/"):
        case keys.RUNS, [project, run_id, _, *_] if names.is_run_id(run_id):
            return ArtifactGroup(project, run_id, keys.run(project, run_id), modified)
        case keys.JOB_RUNS, [project, job_run_id, _, *_] if names.is_job_run_id(job_run_id):
            return ArtifactGroup(project, job_run_id, keys.job_run(project, job_run_id), modified)
        case keys.JOBS, [project, job_id, ref, _, *_] if names.is_job_id(job_id):
            return ArtifactGroup(project, job_id, keys.job_definition_prefix(project, job_id, ref), modified, ref)
        case _:
            return None
