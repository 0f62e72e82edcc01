"""Stand-ins of the engine that keep in memory what is asked of them, and say what they are told to."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.errors import Conflict, NotFound, Unavailable
from schemas.workflow.auth import AuthSessionStatus
from schemas.workflow.auth_session import AuthSessionInput, AuthSessionView, LoginSpec, ValidateInput
from schemas.workflow.delivery import SinkTestInput, SinkTestOutcome
from schemas.workflow.run import ReasonType, RunInput, RunOutcome, RunReason, RunStatus, RunType
from temporal.deliveries import DeliveryState
from temporal.listing import RunFilter, RunListItem, RunPage
from temporal.pool_usage import Machines
from temporal.run_queries import AnyOrder, RunRecord, ValidateLine
from temporal.runs import RunState

WORKSPACE = "0f8fad5b-d9cb-469f-a165-70867728950e"
"""The one that is served."""


@dataclass
class Entry:
    order: RunInput
    fingerprint: str
    rerun_of: str | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    outcome: RunOutcome | None = None


class MemoryRuns:
    """What the engine does, without Temporal. `failure` is raised by every call."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.waiting = 0
        self.logins: dict[tuple[str, str], RunState] = {}
        """Runs of AuthSessions, by project and id."""
        self.unserved: set[str] = set()
        self.paused: set[str] = set()
        """Runs that are paused in Temporal."""
        self.offered: dict[str, int] | None = None
        self.failure: BaseException | None = None

    async def start(self, run_id: str, order: RunInput, *, fingerprint: str, rerun_of: str | None = None) -> bool:
        self._fail()
        known = self.entries.get(run_id)
        if known is None:
            self.entries[run_id] = Entry(order, fingerprint, rerun_of)
            return True
        if known.fingerprint != fingerprint:
            raise Conflict("This Idempotency-Key was used before with another body.")
        return False

    async def state(self, workspace: str, project: str, run_id: str, *, wait: timedelta = timedelta()) -> RunState:
        self._fail()
        if workspace == WORKSPACE and (project, run_id) in self.logins:
            return self.logins[project, run_id]
        entry = self.entries.get(run_id)
        if entry is None or (entry.order.workspace, entry.order.project) != (workspace, project):
            raise NotFound("There is no such Run.")
        if wait:
            self.waiting += 1
            try:
                async with asyncio.timeout(wait.total_seconds()):
                    await entry.ended.wait()
            except TimeoutError:
                pass
            finally:
                self.waiting -= 1
        status = entry.outcome.status if entry.outcome else RunStatus.PENDING
        return RunState(run_id, status, entry.outcome, paused=run_id in self.paused)

    async def cancel(self, workspace: str, project: str, run_id: str, *, wait: timedelta) -> RunState:
        await self.state(workspace, project, run_id)
        if self.entries[run_id].outcome is None:
            reason = RunReason(type=ReasonType.CANCELLED_USER_ACTION, message="The Run was canceled.")
            self.end(run_id, RunOutcome(status=RunStatus.CANCELED, reason=reason))
        return await self.state(workspace, project, run_id, wait=wait)

    async def check(self) -> None:
        self._fail()

    async def machines_offered(self) -> dict[str, int] | None:
        self._fail()
        return self.offered

    async def served(self, project: str) -> bool:
        self._fail()
        return project not in self.unserved

    def end(self, run_id: str, outcome: RunOutcome) -> None:
        self.entries[run_id].outcome = outcome
        self.entries[run_id].ended.set()

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


class MemoryRecords:
    """What is known of the Runs in `MemoryRuns`, and whatever a test puts here."""

    def __init__(self, runs: MemoryRuns) -> None:
        self._runs = runs
        self.asked: list[tuple[RunFilter, int, bytes | None]] = []
        self.answer = RunPage((), None)
        self.orders: dict[str, AnyOrder] = {}
        """Of Runs that are no API's."""
        self.validated: list[ValidateLine] = []
        self.offered: dict[str, Machines] | None = {"shop": Machines(offered=3, busy=2, warm=1)}

    async def page(
        self, workspace: str, project: str, wanted: RunFilter, *, limit: int, after: bytes | None = None
    ) -> RunPage:
        assert workspace == WORKSPACE
        if project != "shop":
            return RunPage((), None)
        self.asked.append((wanted, limit, after))
        return self.answer

    async def record(self, workspace: str, project: str, run_id: str) -> RunRecord:
        state = await self._runs.state(workspace, project, run_id)
        entry = self._runs.entries.get(run_id)
        order = self.orders[run_id] if entry is None else entry.order
        return RunRecord(
            line=line(run_id, project, status=state.status, type=state.type, api=getattr(order, "api", None)),
            state=state,
            order=order,
            rerun_of=entry and entry.rerun_of,
            execution="01a210ec-1fdd",
        )

    async def validates(self, workspace: str, of: RunListItem) -> list[ValidateLine]:  # noqa: ARG002
        return self.validated

    async def ahead(self, of: RunListItem) -> int:  # noqa: ARG002
        return 4

    async def waiting(self, project: str) -> int:
        return 7 if project == "shop" else 0

    async def machines(self) -> dict[str, Machines] | None:
        return self.offered


class MemoryDeliveries:
    """Deliveries of the Runs, as a test puts them here."""

    def __init__(self) -> None:
        self.known: dict[str, list[DeliveryState]] = {}
        self.tests: list[SinkTestInput] = []
        self.came: SinkTestOutcome | None = None
        """Of each test of a sink; None: no worker sends it."""

    async def of_run(self, workspace: str, project: str, run_id: str) -> list[DeliveryState]:
        assert (workspace, project) == (WORKSPACE, "shop")
        return self.known.get(run_id, [])

    async def redeliver(self, workspace: str, project: str, run_id: str, delivery_id: str) -> DeliveryState:
        for state in await self.of_run(workspace, project, run_id):
            if state.id == delivery_id:
                return state
        raise NotFound("There is no such Delivery.")

    async def test(self, order: SinkTestInput) -> SinkTestOutcome:
        if self.came is None:
            raise Unavailable("No worker that delivers has sent the test in time.")
        self.tests.append(order)
        return self.came


BEGAN = datetime(2026, 11, 24, 10, tzinfo=UTC)


def line(run_id: str, project: str = "shop", **fields: Any) -> RunListItem:
    """A Run as a list knows it."""
    known: dict[str, Any] = {
        "type": RunType.API,
        "status": RunStatus.PENDING,
        "api": "list",
        "version": "0123456789abcdef",
        "auth_session_id": None,
        "parent_run_id": None,
        "created_at": BEGAN,
        "started_at": None,
        "ended_at": None,
        "attempts": 0,
        "cause": None,
    }
    return RunListItem(run_id=run_id, project=project, **{**known, **fields})


class MemoryAuthSessions:
    """AuthSessions without Temporal. `failure` is raised by every call that would change something."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], AuthSessionView] = {}
        self.created: list[AuthSessionInput] = []
        self.updates: list[LoginSpec] = []
        self.validates: dict[str, ValidateInput] = {}
        self.failure: BaseException | None = None

    async def create(self, order: AuthSessionInput) -> None:
        self._fail()
        if (order.project, order.ref.owner) in self.known:
            raise Conflict("There is one already.")
        self.known[order.project, order.ref.owner] = order.view
        self.created.append(order)

    async def view(self, workspace: str, project: str, id: str) -> AuthSessionView:  # noqa: A002
        if workspace != WORKSPACE or (project, id) not in self.known:
            raise NotFound("There is no such AuthSession.")
        return self.known[project, id]

    async def views(self, workspace: str, project: str) -> list[AuthSessionView]:
        return [view for (its, _), view in sorted(self.known.items()) if its == project and workspace == WORKSPACE]

    async def update(self, workspace: str, project: str, id: str, order: LoginSpec) -> None:  # noqa: A002
        self._fail()
        await self.view(workspace, project, id)
        self.updates.append(order)

    async def record(self, workspace: str, project: str, id: str, key: str) -> AuthSessionView:  # noqa: A002
        self._fail()
        view = await self.view(workspace, project, id)
        self.known[project, id] = view.model_copy(update={"state_key": key, "status": AuthSessionStatus.READY})
        return self.known[project, id]

    async def validate(self, run_id: str, order: ValidateInput) -> None:
        self._fail()
        self.validates[run_id] = order

    async def delete(self, workspace: str, project: str, id: str) -> None:  # noqa: A002
        self._fail()
        await self.view(workspace, project, id)
        del self.known[project, id]

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure
