"""Dependencies of the request handlers: the application creates them once and hands them to every endpoint.

The protocols hold signatures alone: the classes in `temporal` that they are named after say what each method does and
raises, and tests put classes of their own in their place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any, Protocol, cast

from fastapi import Depends, Request

from api.http.key_check import KeyCheck
from api.runs.queue_counts import QueueCounts
from projects.catalog import Catalog
from projects.job_definition import JobDefiner
from schemas.rest.job_runs import SortKey
from schemas.workflow.auth_session import AuthSessionInput, AuthSessionView, LoginSpec, ValidateInput
from schemas.workflow.delivery import SinkTestInput, SinkTestOutcome
from schemas.workflow.fleet import FleetState
from schemas.workflow.job import JobRef
from schemas.workflow.job_run import JobRunInput
from schemas.workflow.run import RunInput
from security.egress import EgressPolicy
from security.keyring import KeyRing
from settings import Settings
from storage.store import Store
from telemetry.health import Liveness
from temporal.deliveries import DeliveryState
from temporal.job_run_listing import JobRunPage, JobRunState
from temporal.jobs import JobState
from temporal.listing import RunFilter, RunListItem, RunPage
from temporal.pool_usage import PoolUsage
from temporal.run_queries import RunDetails, ValidateListItem
from temporal.runs import RunState


class Runs(Protocol):
    """What the api needs of `temporal.runs.Runs`."""

    async def start(self, run_id: str, run: RunInput, /, *, fingerprint: str, rerun_of: str | None = None) -> bool: ...

    async def get_state(self, workspace: str, project: str, run_id: str, /, *, wait: timedelta = ...) -> RunState: ...

    async def cancel(self, workspace: str, project: str, run_id: str, /) -> RunState: ...

    async def close(self) -> None: ...


class Health(Protocol):
    """What the api needs to know of Temporal's health; `temporal.health.TemporalHealth` says more."""

    async def check(self) -> None: ...

    async def read_isolation(self) -> dict[str, str]: ...


class Fleet(Protocol):
    """What the api needs of `temporal.fleet_reader.FleetReader`."""

    async def read(self) -> FleetState: ...


class RunQueries(Protocol):
    """What the api needs of `temporal.run_queries.RunQueries`."""

    async def list_runs(
        self, workspace: str, project: str, run_filter: RunFilter, /, *, limit: int, page_token: bytes | None = None
    ) -> RunPage: ...

    async def get_details(self, workspace: str, project: str, run_id: str, /) -> RunDetails: ...

    async def list_validates(self, workspace: str, run: RunListItem, /) -> list[ValidateListItem]: ...

    async def count_runs(self, project: str, run_filter: RunFilter, /) -> int: ...

    async def count_ahead(self, run: RunListItem, /) -> int: ...

    async def count_waiting(self, project: str, /) -> int: ...

    async def read_machine_usage(self) -> dict[str, PoolUsage] | None: ...


class AuthSessions(Protocol):
    """What the api needs of `temporal.auth_sessions.AuthSessions`."""

    async def create(self, session: AuthSessionInput, /) -> None: ...

    async def get(self, workspace: str, project: str, auth_session_id: str, /) -> AuthSessionView: ...

    async def list_all(self, workspace: str, project: str, /) -> list[AuthSessionView]: ...

    async def update(self, workspace: str, project: str, auth_session_id: str, spec: LoginSpec, /) -> None: ...

    async def replace_state(
        self, workspace: str, project: str, auth_session_id: str, state_key: str, /
    ) -> AuthSessionView: ...

    async def validate(self, run_id: str, validate: ValidateInput, /) -> None: ...

    async def delete(self, workspace: str, project: str, auth_session_id: str, /) -> None: ...


class Deliveries(Protocol):
    """What the api needs of `temporal.deliveries.Deliveries`."""

    async def list_for_run(self, workspace: str, project: str, run_id: str, /) -> list[DeliveryState]: ...

    async def redeliver(self, workspace: str, project: str, run_id: str, delivery_id: str, /) -> DeliveryState: ...

    async def test_sink(self, test: SinkTestInput, /) -> SinkTestOutcome: ...


class Jobs(Protocol):
    """What the api needs of `temporal.jobs.Jobs`."""

    async def create(self, ref: JobRef, schedule: dict[str, Any] | None, /) -> None: ...

    async def get(self, workspace: str, project: str, job_id: str, /) -> JobState: ...

    async def list_all(self, workspace: str, project: str, /) -> list[JobState]: ...

    async def update(
        self, workspace: str, project: str, job_id: str, definition: str, schedule: dict[str, Any] | None, /
    ) -> None: ...

    async def delete(self, workspace: str, project: str, job_id: str, /) -> None: ...

    async def pause(self, workspace: str, project: str, job_id: str, note: str, /) -> None: ...

    async def resume(self, workspace: str, project: str, job_id: str, note: str, /) -> None: ...


class JobRuns(Protocol):
    """What the api needs of `temporal.job_runs.JobRuns`."""

    async def start(self, job_run_id: str, job_run: JobRunInput, /) -> None: ...

    async def get(self, workspace: str, project: str, job_id: str, job_run_id: str, /) -> JobRunState: ...

    async def find(self, workspace: str, project: str, job_run_id: str, /) -> JobRunState: ...

    async def list_page(
        self, workspace: str, project: str, job_id: str, /, *, sort: Sequence[SortKey], first: int, count: int
    ) -> JobRunPage: ...

    async def list_latest(self, workspace: str, project: str, count: int, /) -> list[JobRunState]: ...

    async def pause(self, workspace: str, project: str, job_id: str, job_run_id: str, /) -> None: ...

    async def resume(self, workspace: str, project: str, job_id: str, job_run_id: str, /) -> None: ...

    async def terminate(self, workspace: str, project: str, job_id: str, job_run_id: str, /) -> None: ...

    async def pause_active(self, project: str, job_id: str, /) -> None: ...

    async def resume_active(self, project: str, job_id: str, /) -> None: ...


@dataclass(frozen=True)
class Services:
    """The settings, and the services that were made from them."""

    settings: Settings
    keys: KeyCheck
    runs: Runs
    run_queries: RunQueries
    auth_sessions: AuthSessions
    deliveries: Deliveries
    jobs: Jobs
    job_runs: JobRuns
    job_definer: JobDefiner
    temporal_health: Health
    temporal_namespace: str
    fleet: Fleet
    store: Store
    catalog: Catalog
    ring: KeyRing
    egress: EgressPolicy
    liveness: Liveness = field(default_factory=Liveness)
    """What has to go on in this process."""
    queues: QueueCounts = field(default_factory=QueueCounts)
    """How many Runs of each project wait, as far as `maxQueued` needs it."""
    shutting_down: asyncio.Event = field(default_factory=asyncio.Event)
    """Event that is set when the process is told to stop: clients that wait for a Run are then answered at once."""


async def _services(request: Request) -> Services:
    return cast("Services", request.app.state.services)


ServicesDep = Annotated[Services, Depends(_services)]
