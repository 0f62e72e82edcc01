"""What a request is served with: made once by the application, handed to every endpoint."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Protocol, cast

from fastapi import Depends, Request

from api.key_check import KeyCheck
from contract.flow.auth_session import AuthSessionInput, AuthSessionView, LoginOrder, ValidateInput
from contract.flow.delivery import SinkTestInput, SinkTestOutcome
from contract.flow.run import RunInput
from engine.deliveries import DeliveryState
from engine.listing import RunFilter, RunLine, RunPage
from engine.records import RunRecord, ValidateLine
from engine.runs import RunState
from engine.slots import Machines
from projects.catalog import Catalog
from security.egress import Egress
from security.keyring import KeyRing
from settings import Settings
from storage.store import Store


class Runs(Protocol):
    """What the api asks of the engine; `engine.runs.Runs` says what each does and raises."""

    async def start(self, run_id: str, order: RunInput, *, fingerprint: str, rerun_of: str | None = None) -> bool:
        """Start a Run; False if the very same was started before."""
        ...

    async def state(self, workspace: str, project: str, run_id: str, *, wait: timedelta = ...) -> RunState:
        """How the Run stands, at its end but after `wait` at the latest."""
        ...

    async def cancel(self, workspace: str, project: str, run_id: str, *, wait: timedelta) -> RunState:
        """Ask for its end, and wait for it."""
        ...

    async def check(self) -> None:
        """Raises Unavailable if Temporal does not answer."""
        ...

    async def machines_offered(self) -> dict[str, int] | None:
        """Machines that live workers offer, by project; None where Temporal cannot tell."""
        ...

    async def served(self, project: str) -> bool:
        """Whether a worker asks for the project's Attempts."""
        ...


class Records(Protocol):
    """What the api asks about Runs beyond their result; `engine.records.Records` says what each does and raises."""

    async def page(
        self, workspace: str, project: str, wanted: RunFilter, *, limit: int, after: bytes | None = None
    ) -> RunPage:
        """A page of a project's Runs."""
        ...

    async def record(self, workspace: str, project: str, run_id: str) -> RunRecord:
        """All that is known of a Run. Raises NotFound."""
        ...

    async def validates(self, workspace: str, of: RunLine) -> list[ValidateLine]:
        """Those that a Run has waited for."""
        ...

    async def ahead(self, of: RunLine) -> int:
        """How many came before it and wait."""
        ...

    async def waiting(self, project: str) -> int:
        """How many of a project wait for a Machine."""
        ...

    async def machines(self) -> dict[str, Machines] | None:
        """Machines that live workers offer, by project; None where Temporal cannot tell."""
        ...


class AuthSessions(Protocol):
    """What the api asks of AuthSessions; `engine.auth_sessions.AuthSessions` says what each does and raises."""

    async def create(self, order: AuthSessionInput) -> None:
        """Bring one into being. Raises Conflict if there is one with its id."""
        ...

    async def view(self, workspace: str, project: str, id: str) -> AuthSessionView:  # noqa: A002 - the contract's name
        """How it stands. Raises NotFound."""
        ...

    async def views(self, workspace: str, project: str) -> list[AuthSessionView]:
        """All of a project, by id."""
        ...

    async def update(self, workspace: str, project: str, id: str, order: LoginOrder) -> None:  # noqa: A002
        """Have it log in with other parameters. Raises NotFound."""
        ...

    async def record(self, workspace: str, project: str, id: str, key: str) -> AuthSessionView:  # noqa: A002
        """Give it another state; returns once it has it. Raises NotFound, or Unavailable if no worker took it up."""
        ...

    async def validate(self, run_id: str, order: ValidateInput) -> None:
        """Start a Validate with this id."""
        ...

    async def delete(self, workspace: str, project: str, id: str) -> None:  # noqa: A002
        """Remove it; returns when it is gone. Raises NotFound, or Unavailable if no worker took it up."""
        ...


class Deliveries(Protocol):
    """What the api asks of Deliveries; `engine.deliveries.Deliveries` says what each does and raises."""

    async def of_run(self, workspace: str, project: str, run_id: str) -> list[DeliveryState]:
        """Those of a Run."""
        ...

    async def redeliver(self, workspace: str, project: str, run_id: str, delivery_id: str) -> DeliveryState:
        """Have one sent now. Raises NotFound."""
        ...

    async def test(self, order: SinkTestInput) -> SinkTestOutcome:
        """Have a test sent to a sink, and wait for what comes of it."""
        ...


@dataclass(frozen=True)
class Parts:
    """The settings and what was made from them."""

    settings: Settings
    keys: KeyCheck
    runs: Runs
    records: Records
    auth_sessions: AuthSessions
    deliveries: Deliveries
    store: Store
    catalog: Catalog
    ring: KeyRing
    egress: Egress
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the process is told to stop: whoever waits for a Run is answered at once."""


async def _parts(request: Request) -> Parts:
    return cast("Parts", request.app.state.parts)


PartsDep = Annotated[Parts, Depends(_parts)]
