"""Jobs and JobRuns without Temporal, for tests of the api."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from callboard.schemas.errors import Conflict, NotFound
from callboard.schemas.rest.job_runs import SortKey
from callboard.schemas.workflow import names
from callboard.schemas.workflow.job import JobRef, JobSource
from callboard.schemas.workflow.job_run import JobRunInput, JobRunProgress, JobRunStatus
from callboard.temporal.job_runs import JobRunPage, JobRuns, JobRunState
from callboard.temporal.jobs import Jobs, JobState, require_definition, require_source
from tests.support.in_memory_temporal import BEGAN


class MemoryJobs(Jobs):
    """The Jobs of all projects. `failure` is raised by every call that would change something."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], JobState] = {}
        self.schedules: dict[tuple[str, str], dict[str, Any] | None] = {}
        self.failure: BaseException | None = None

    async def create(self, ref: JobRef, schedule: dict[str, Any] | None) -> None:
        self._fail()
        if (ref.project, ref.job_id) in self.known:
            raise Conflict(f"There is a Job {ref.job_id} already.")
        self.schedules[ref.project, ref.job_id] = schedule
        self.known[ref.project, ref.job_id] = JobState(
            ref=ref,
            schedule_id=names.job_schedule_id(ref.project, ref.job_id),
            paused=False,
            note=None,
            next_run_times=(),
            last_run_time=None,
        )

    async def get(self, workspace: str, project: str, job_id: str) -> JobState:
        state = self.known.get((project, job_id))
        if state is None or state.ref.workspace != workspace:
            raise NotFound("There is no such Job.")
        return state

    async def list_all(self, workspace: str, project: str) -> list[JobState]:
        found = [state for (of, _), state in sorted(self.known.items()) if of == project]
        return [state for state in found if state.ref.workspace == workspace]

    async def update(
        self,
        workspace: str,
        project: str,
        job_id: str,
        definition: str,
        schedule: dict[str, Any] | None,
        *,
        source: JobSource = JobSource.API,
        digest: str = "",
        instead_of: str | None = None,
    ) -> None:
        self._fail()
        ref = (await self.get(workspace, project, job_id)).ref
        require_source(ref, source)
        require_definition(ref, instead_of)
        self.schedules[project, job_id] = schedule
        self.change(project, job_id, ref=ref.model_copy(update={"definition": definition, "digest": digest}))

    async def delete(self, workspace: str, project: str, job_id: str, *, source: JobSource = JobSource.API) -> None:
        self._fail()
        require_source((await self.get(workspace, project, job_id)).ref, source)
        del self.known[project, job_id]

    async def pause(self, workspace: str, project: str, job_id: str, note: str) -> None:
        await self.get(workspace, project, job_id)
        self.change(project, job_id, paused=True, note=note)

    async def resume(self, workspace: str, project: str, job_id: str, note: str) -> None:
        await self.get(workspace, project, job_id)
        self.change(project, job_id, paused=False, note=note)

    def change(self, project: str, job_id: str, **fields: Any) -> None:
        """Let a Job be another one in these fields."""
        self.known[project, job_id] = replace(self.known[project, job_id], **fields)

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


class MemoryJobRuns(JobRuns):
    """The JobRuns of all Jobs, in the order of their start; `steered` has what was asked of which."""

    def __init__(self) -> None:
        self.known: dict[str, JobRunState] = {}
        self.inputs: dict[str, JobRunInput] = {}
        self.steered: list[tuple[str, str]] = []
        self.asked: list[tuple[tuple[SortKey, ...], int, int]] = []

    async def start(self, job_run_id: str, job_run: JobRunInput) -> None:
        if job_run_id in self.known:
            if job_run.rerun is None or self.known[job_run_id].rerun_of != job_run.rerun.job_run_id:
                raise Conflict("This Idempotency-Key was used before for another JobRun.")
            return
        self.inputs[job_run_id] = job_run
        self.known[job_run_id] = JobRunState(
            id=job_run_id,
            workspace=job_run.workspace,
            project=job_run.project,
            job_id=job_run.job_id,
            definition=job_run.definition,
            type=job_run.type,
            rerun_of=job_run.rerun and job_run.rerun.job_run_id,
            status=JobRunStatus.PENDING,
            started_at=BEGAN,
            ended_at=None,
            updated_at=BEGAN,
            progress=JobRunProgress(total=0 if job_run.rerun is None else job_run.rerun.unfinished),
            version=None,
            reason=None,
            error=None,
        )

    async def get(self, workspace: str, project: str, job_id: str | None, job_run_id: str) -> JobRunState:
        state = self.known.get(job_run_id)
        if state is None or (state.workspace, state.project) != (workspace, project):
            raise NotFound("There is no such JobRun.")
        if job_id not in (None, state.job_id):
            raise NotFound("There is no such JobRun.")
        return state

    async def list_latest(self, workspace: str, project: str, count: int) -> list[JobRunState]:
        found = [state for state in self.known.values() if (state.workspace, state.project) == (workspace, project)]
        return found[:count]

    async def list_page(
        self, workspace: str, project: str, job_id: str, *, sort: Sequence[SortKey], first: int, count: int
    ) -> JobRunPage:
        self.asked.append((tuple(sort), first, count))
        of = (workspace, project, job_id)
        found = [state for state in self.known.values() if (state.workspace, state.project, state.job_id) == of]
        return JobRunPage(tuple(found[first : first + count]), len(found))

    async def pause(self, workspace: str, project: str, job_id: str, job_run_id: str) -> None:
        await self._steer(workspace, project, job_id, job_run_id, "pause")

    async def resume(self, workspace: str, project: str, job_id: str, job_run_id: str) -> None:
        await self._steer(workspace, project, job_id, job_run_id, "resume")

    async def terminate(self, workspace: str, project: str, job_id: str, job_run_id: str) -> None:
        await self.get(workspace, project, job_id, job_run_id)
        self.steered.append((job_run_id, "terminate"))

    async def pause_active(self, project: str, job_id: str) -> None:
        self.steered.append((f"{project}/{job_id}", "pause"))

    async def resume_active(self, project: str, job_id: str) -> None:
        self.steered.append((f"{project}/{job_id}", "resume"))

    def change(self, job_run_id: str, **fields: Any) -> None:
        """Let a JobRun be another one in these fields."""
        self.known[job_run_id] = replace(self.known[job_run_id], **fields)

    async def _steer(self, workspace: str, project: str, job_id: str, job_run_id: str, signal: str) -> None:
        if (await self.get(workspace, project, job_id, job_run_id)).ended_at is not None:
            raise Conflict(f"JobRun {job_run_id} has ended.")
        self.steered.append((job_run_id, signal))
