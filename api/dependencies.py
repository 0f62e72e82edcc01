"""Dependencies of the request handlers: the application creates them once and hands them to every endpoint."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Protocol, cast

from fastapi import Depends, Request

from api.http.key_check import KeyCheck
from projects.catalog import Catalog
from schemas.workflow.auth_session import AuthSessionInput, AuthSessionView, LoginSpec, ValidateInput
from schemas.workflow.delivery import SinkTestInput, SinkTestOutcome
from schemas.workflow.run import RunInput
from security.egress import EgressPolicy
from security.keyring import KeyRing
from settings import Settings
from storage.store import Store
from temporal.deliveries import DeliveryState
from temporal.listing import RunFilter, RunListItem, RunPage
from temporal.pool_usage import MachineCounts
from temporal.run_queries import RunRecord, ValidateListItem
from temporal.runs import RunState


class Runs(Protocol):
    """What the api needs of Runs; `temporal.runs.Runs` says what each method does and raises."""

    async def start(self, run_id: str, run: RunInput, /, *, fingerprint: str, rerun_of: str | None = None) -> bool:
        """Start a Run; return False if the very same Run was started before."""
        ...

    async def get_state(self, workspace: str, project: str, run_id: str, /, *, wait: timedelta = ...) -> RunState:
        """Return the state of a Run: with `wait`, as soon as the Run has ended, but after that time at the latest."""
        ...

    async def cancel(self, workspace: str, project: str, run_id: str, /) -> RunState:
        """Request the cancellation of a Run, and return its state."""
        ...


class Health(Protocol):
    """What the api needs to know of Temporal's health; `temporal.health.TemporalHealth` says more."""

    async def check(self) -> None:
        """Raise Unavailable if Temporal does not answer."""
        ...

    async def count_offered_machines(self) -> dict[str, int] | None:
        """Return how many Machines live workers offer for each project; None if Temporal cannot tell."""
        ...

    async def has_pollers(self, project: str, /) -> bool:
        """Tell whether a worker polls for the project's Attempts."""
        ...


class RunQueries(Protocol):
    """Queries about Runs beyond their result; `temporal.run_queries.RunQueries` says what each does and raises."""

    async def list_runs(
        self, workspace: str, project: str, run_filter: RunFilter, /, *, limit: int, page_token: bytes | None = None
    ) -> RunPage:
        """Return a page of a project's Runs."""
        ...

    async def get_record(self, workspace: str, project: str, run_id: str, /) -> RunRecord:
        """Return all that is known of a Run. Raises NotFound."""
        ...

    async def list_validates(self, workspace: str, run: RunListItem, /) -> list[ValidateListItem]:
        """Return the Validates that a Run has waited for."""
        ...

    async def count_ahead(self, run: RunListItem, /) -> int:
        """Return how many Runs of the project are in the queue before this one."""
        ...

    async def count_waiting(self, project: str, /) -> int:
        """Return how many Runs of a project wait for a Machine."""
        ...

    async def count_machines(self) -> dict[str, MachineCounts] | None:
        """Return the Machines that live workers offer, by project; None if Temporal cannot tell."""
        ...


class AuthSessions(Protocol):
    """What the api needs of AuthSessions; `temporal.auth_sessions.AuthSessions` says what each does and raises."""

    async def create(self, session: AuthSessionInput, /) -> None:
        """Create an AuthSession. Raises Conflict if there is already one with its id."""
        ...

    async def get(self, workspace: str, project: str, auth_session_id: str, /) -> AuthSessionView:
        """Return the current state of an AuthSession. Raises NotFound."""
        ...

    async def list_all(self, workspace: str, project: str, /) -> list[AuthSessionView]:
        """Return all AuthSessions of a project, sorted by id."""
        ...

    async def update(self, workspace: str, project: str, auth_session_id: str, spec: LoginSpec, /) -> None:
        """Start the Run in which an AuthSession logs in with other parameters. Raises NotFound."""
        ...

    async def replace_state(
        self, workspace: str, project: str, auth_session_id: str, state_key: str, /
    ) -> AuthSessionView:
        """Replace the browser state of a recorded AuthSession, and return when that is done.

        Raises NotFound, or Unavailable if no worker took the state up.
        """
        ...

    async def validate(self, run_id: str, validate: ValidateInput, /) -> None:
        """Start a Validate with this id."""
        ...

    async def delete(self, workspace: str, project: str, auth_session_id: str, /) -> None:
        """Delete an AuthSession, and return when it is gone. Raises NotFound, or Unavailable if no worker did it."""
        ...


class Deliveries(Protocol):
    """What the api needs of Deliveries; `temporal.deliveries.Deliveries` says what each does and raises."""

    async def list_for_run(self, workspace: str, project: str, run_id: str, /) -> list[DeliveryState]:
        """Return the Deliveries of a Run."""
        ...

    async def redeliver(self, workspace: str, project: str, run_id: str, delivery_id: str, /) -> DeliveryState:
        """Request that a worker sends a Delivery now. Raises NotFound."""
        ...

    async def test_sink(self, test: SinkTestInput, /) -> SinkTestOutcome:
        """Request that a worker sends a test to a sink, and wait for its outcome."""
        ...


@dataclass(frozen=True)
class Services:
    """The settings, and the services that were made from them."""

    settings: Settings
    keys: KeyCheck
    runs: Runs
    records: RunQueries
    auth_sessions: AuthSessions
    deliveries: Deliveries
    temporal_health: Health
    store: Store
    catalog: Catalog
    ring: KeyRing
    egress: EgressPolicy
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    """Event that is set when the process is told to stop: clients that wait for a Run are then answered at once."""


async def _services(request: Request) -> Services:
    return cast("Services", request.app.state.services)


ServicesDep = Annotated[Services, Depends(_services)]
