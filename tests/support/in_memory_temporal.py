"""Stand-ins of the engine that keep in memory what is asked of them, and say what they are told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from callboard.schemas.errors import Conflict, NotFound, Unavailable
from callboard.schemas.rest.bulk import BulkStatus
from callboard.schemas.workflow import names
from callboard.schemas.workflow.actor import Actor
from callboard.schemas.workflow.auth import AuthSessionStatus
from callboard.schemas.workflow.auth_session import AuthSessionInput, AuthSessionView, LoginSpec, ValidateInput
from callboard.schemas.workflow.bulk import BulkFailure, BulkInput, BulkView
from callboard.schemas.workflow.delivery import SinkTestInput, SinkTestOutcome
from callboard.schemas.workflow.handoff import Handoff, HandoffEnd
from callboard.schemas.workflow.run import ReasonType, RunInput, RunOutcome, RunReason, RunStatus, RunType
from callboard.temporal.auth_sessions import AuthSessions
from callboard.temporal.bulks import Bulk, Bulks
from callboard.temporal.deliveries import Deliveries, DeliveryListItem, DeliveryState
from callboard.temporal.handoffs import Handoffs
from callboard.temporal.health import TemporalHealth
from callboard.temporal.listing import RunFilter, RunListItem, RunPage
from callboard.temporal.run_queries import AnyInput, RunDetails, RunQueries, ValidateListItem
from callboard.temporal.runs import Runs, RunState
from tests.support.constants import WORKSPACE


@dataclass
class Entry:
    input: RunInput
    fingerprint: str
    rerun_of: str | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    outcome: RunOutcome | None = None


class MemoryRuns(Runs):
    """What the engine does, without Temporal. `failure` is raised by every call."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.waiting = 0
        self.logins: dict[tuple[str, str], RunState] = {}
        """Runs of AuthSessions, by project and id."""
        self.paused: set[str] = set()
        """Runs that are paused in Temporal."""
        self.failure: BaseException | None = None
        self.closed = False
        self.handoffs: list[Handoff] = []
        """Those of all Runs."""
        self.awaited: dict[str, str] = {}
        """The Create that a Run waits for."""

    async def start(
        self,
        run_id: str,
        run_input: RunInput,
        *,
        fingerprint: str,
        rerun_of: str | None = None,
        batch: str | None = None,  # noqa: ARG002
    ) -> bool:
        self.fail()
        known = self.entries.get(run_id)
        if known is None:
            self.entries[run_id] = Entry(run_input, fingerprint, rerun_of)
            return True
        if known.fingerprint != fingerprint:
            raise Conflict("This Idempotency-Key was used before with another body.")
        return False

    async def get_state(self, workspace: str, project: str, run_id: str, *, wait: timedelta = timedelta()) -> RunState:
        self.fail()
        if workspace == WORKSPACE and (project, run_id) in self.logins:
            return self.logins[project, run_id]
        entry = self.entries.get(run_id)
        if entry is None or (entry.input.workspace, entry.input.project) != (workspace, project):
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
        handoff = next((each for each in self.handoffs if each.is_open), None)
        return RunState(run_id, status, entry.outcome, paused=run_id in self.paused, handoff=handoff)

    async def cancel(self, workspace: str, project: str, run_id: str, *, by: Actor) -> RunState:
        await self.get_state(workspace, project, run_id)
        if self.entries[run_id].outcome is None:
            reason = RunReason(type=ReasonType.CANCELLED_USER_ACTION, message="The Run was canceled.")
            self.end(run_id, RunOutcome(status=RunStatus.CANCELED, reason=reason, canceled_by=by))
        return await self.get_state(workspace, project, run_id)

    async def close(self) -> None:
        self.closed = True

    async def list_handoffs(self, workspace: str, project: str, run_id: str) -> list[Handoff]:
        await self.get_state(workspace, project, run_id)
        return [each for each in self.handoffs if names.run_of_handoff(each.id) in (run_id, self.awaited.get(run_id))]

    def end(self, run_id: str, outcome: RunOutcome) -> None:
        self.entries[run_id].outcome = outcome
        self.entries[run_id].ended.set()

    def fail(self) -> None:
        if self.failure is not None:
            raise self.failure


class MemoryHandoffs(Handoffs):
    """The Handoffs in `MemoryRuns`, and what was answered."""

    def __init__(self, runs: MemoryRuns) -> None:
        self._runs = runs
        self.answered: list[tuple[str, HandoffEnd]] = []
        self.opened: set[str] = set()
        """Links."""

    async def list_open(self, workspace: str, project: str) -> list[Handoff]:
        assert workspace == WORKSPACE
        return [each for each in self._runs.handoffs if each.is_open] if project == "shop" else []

    async def answer(self, handoff_id: str, end: HandoffEnd, *, answer_id: str | None = None) -> None:
        assert answer_id is None, "an api does not repeat an answer"
        self._runs.fail()
        self.answered.append((handoff_id, end))

    async def open_link(self, handoff_id: str, link: str) -> None:
        if link in self.opened:
            raise Conflict(f"The link to {handoff_id} was used before.")
        self.opened.add(link)


class MemoryHealth(TemporalHealth):
    """The health of what `MemoryRuns` does."""

    def __init__(self, runs: MemoryRuns) -> None:
        self._runs = runs

    async def check(self) -> None:
        self._runs.fail()


class MemoryRunQueries(RunQueries):
    """What is known of the Runs in `MemoryRuns`, and whatever a test puts here."""

    def __init__(self, runs: MemoryRuns) -> None:
        self._runs = runs
        self.asked: list[tuple[RunFilter, int, bytes | None]] = []
        self.counted: list[tuple[str, RunFilter]] = []
        self.answer = RunPage((), None)
        """All Runs, which are listed page by page; a token is the number of the page's first Run."""
        self.inputs: dict[str, AnyInput] = {}
        """Of Runs that are no API's."""
        self.validated: list[ValidateListItem] = []
        self.belongs_to: tuple[str | None, str | None] = (None, None)
        """The Job and the JobRun that Runs belong to."""
        self.trace_id: str | None = None
        """The OpenTelemetry trace that Runs belong to."""
        self.waits_until: datetime | None = None
        """When the waits of Runs between Attempts end."""
        self.counts: dict[RunStatus, int] = {}
        """How many Runs of a JobRun have each status."""
        self.recently_ended = 0

    async def list_runs(
        self, workspace: str, project: str, run_filter: RunFilter, *, limit: int, page_token: bytes | None = None
    ) -> RunPage:
        assert workspace == WORKSPACE
        if project != "shop":
            return RunPage((), None)
        self.asked.append((run_filter, limit, page_token))
        first = int(page_token or 0)
        runs = self.answer.runs[first : first + limit if limit else None]
        end = first + len(runs)
        return RunPage(runs, str(end).encode() if end < len(self.answer.runs) else self.answer.next_page_token)

    async def list_all(self, workspace: str, project: str, run_filter: RunFilter) -> AsyncGenerator[RunListItem]:
        for run in (await self.list_runs(workspace, project, run_filter, limit=0)).runs:
            yield run

    async def get_details(self, workspace: str, project: str, run_id: str) -> RunDetails:
        state = await self._runs.get_state(workspace, project, run_id)
        entry = self._runs.entries.get(run_id)
        run_input = self.inputs[run_id] if entry is None else entry.input
        job_id, job_run_id = self.belongs_to
        return RunDetails(
            list_item=line(
                run_id,
                project,
                status=state.status,
                type=state.type,
                api=getattr(run_input, "api", None),
                auth_session_id=None if (auth := getattr(run_input, "auth", None)) is None else auth.ref.id,
                job_id=job_id,
                job_run_id=job_run_id,
                waits_until=self.waits_until,
                handoff=state.handoff,
            ),
            state=state,
            input=run_input,
            rerun_of=entry and entry.rerun_of,
            execution_id="01a210ec-1fdd",
            trace_id=self.trace_id,
        )

    async def list_validates(self, workspace: str, run: RunListItem) -> list[ValidateListItem]:  # noqa: ARG002
        return self.validated

    async def count_runs(self, project: str, run_filter: RunFilter) -> int:
        self.counted.append((project, run_filter))
        if run_filter.ended_after is not None:
            return self.recently_ended
        return sum(self.counts.get(status, 0) for status in run_filter.statuses)

    async def count_waiting(self, project: str, *, created_before: datetime | None = None) -> int:
        if created_before is not None:
            return 4
        return 7 if project == "shop" else 0


class MemoryBulks(Bulks):
    """Requests about many Runs: what was asked for. None of them ends unless it is aborted, or `end` is called."""

    def __init__(self) -> None:
        self.started: list[BulkInput] = []
        self.aborted: dict[str, Actor] = {}
        """Who has aborted which."""
        self.ended: Bulk | None = None

    async def start(self, bulk: BulkInput) -> BulkView:
        try:
            return await self.get_same(bulk.workspace, bulk.project, bulk.bulk_id, bulk.fingerprint)
        except NotFound:
            self.started.append(bulk)
            return bulk.view

    async def get_same(self, workspace: str, project: str, bulk_id: str, fingerprint: str) -> BulkView:
        known = await self.get(workspace, project, bulk_id)
        if all(bulk.fingerprint != fingerprint for bulk in self.started if bulk.bulk_id == bulk_id):
            raise Conflict("This Idempotency-Key was used before with another body.")
        return known.view

    async def get(self, workspace: str, project: str, bulk_id: str) -> Bulk:
        for bulk in self.started:
            if (bulk.workspace, bulk.project, bulk.bulk_id) == (workspace, project, bulk_id):
                if self.ended is not None:
                    return self.ended
                status = BulkStatus.ABORTED if bulk_id in self.aborted else BulkStatus.RUNNING
                return Bulk(bulk_id, status, bulk.view, bulk.failures, None)
        raise NotFound("There is no such bulk.")

    async def abort(self, workspace: str, project: str, bulk_id: str, *, by: Actor) -> None:
        await self.get(workspace, project, bulk_id)
        self.aborted[bulk_id] = by

    def end(self, failures: tuple[BulkFailure, ...], **counts: int) -> None:
        """Let the only one end with these counts."""
        (bulk,) = self.started
        self.ended = Bulk(bulk.bulk_id, BulkStatus.COMPLETED, bulk.view.model_copy(update=counts), failures, BEGAN)


class MemoryDeliveries(Deliveries):
    """Deliveries of the Runs, as a test puts them here."""

    def __init__(self) -> None:
        self.known: dict[str, list[DeliveryState]] = {}
        self.tests: list[SinkTestInput] = []
        self.came: SinkTestOutcome | None = None
        """Of each test of a sink; None: no worker sends it."""

    async def list_for_run(self, workspace: str, project: str, run_id: str) -> list[DeliveryState]:
        assert (workspace, project) == (WORKSPACE, "shop")
        return self.known.get(run_id, [])

    async def list_for_project(self, workspace: str, project: str) -> list[DeliveryListItem]:
        return [
            DeliveryListItem(run_id, "nightly" if names.is_job_run_id(run_id) else None, state, BEGAN, None, 2, BEGAN)
            for run_id in self.known
            for state in await self.list_for_run(workspace, project, run_id)
        ]

    async def redeliver(self, workspace: str, project: str, run_id: str, delivery_id: str) -> DeliveryState:
        for state in self.known.get(run_id, []) if (workspace, project) == (WORKSPACE, "shop") else []:
            if state.id == delivery_id:
                return state
        raise NotFound("There is no such Delivery.")

    async def test_sink(self, sink_test: SinkTestInput) -> SinkTestOutcome:
        if self.came is None:
            raise Unavailable("No worker that delivers has sent the test in time.")
        self.tests.append(sink_test)
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
        "job_id": None,
        "job_run_id": None,
        "tags": (),
        "created_at": BEGAN,
        "started_at": None,
        "ended_at": None,
        "attempts": 0,
        "waits_until": None,
        "cause": None,
        "parameters": "",
        "result": "",
        "handoff": None,
    }
    return RunListItem(run_id=run_id, project=project, **{**known, **fields})


class MemoryAuthSessions(AuthSessions):
    """AuthSessions without Temporal. `failure` is raised by every call that would change something."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], AuthSessionView] = {}
        self.created: list[AuthSessionInput] = []
        self.updates: list[LoginSpec] = []
        self.validates: dict[str, ValidateInput] = {}
        self.failure: BaseException | None = None

    async def create(self, auth_session: AuthSessionInput) -> None:
        self.fail()
        if (auth_session.project, auth_session.ref.owner) in self.known:
            raise Conflict("There is one already.")
        self.known[auth_session.project, auth_session.ref.owner] = auth_session.view
        self.created.append(auth_session)

    async def get(self, workspace: str, project: str, auth_session_id: str) -> AuthSessionView:
        if workspace != WORKSPACE or (project, auth_session_id) not in self.known:
            raise NotFound("There is no such AuthSession.")
        return self.known[project, auth_session_id]

    async def list_all(self, workspace: str, project: str) -> list[AuthSessionView]:
        return [view for (its, _), view in sorted(self.known.items()) if its == project and workspace == WORKSPACE]

    async def update(self, workspace: str, project: str, auth_session_id: str, login: LoginSpec) -> None:
        self.fail()
        await self.get(workspace, project, auth_session_id)
        self.updates.append(login)

    async def replace_state(
        self, workspace: str, project: str, auth_session_id: str, state_key: str
    ) -> AuthSessionView:
        self.fail()
        view = await self.get(workspace, project, auth_session_id)
        self.known[project, auth_session_id] = view.model_copy(
            update={"state_key": state_key, "status": AuthSessionStatus.READY}
        )
        return self.known[project, auth_session_id]

    async def validate(self, run_id: str, validate_input: ValidateInput) -> None:
        self.fail()
        self.validates[run_id] = validate_input

    async def delete(self, workspace: str, project: str, auth_session_id: str) -> None:
        self.fail()
        await self.get(workspace, project, auth_session_id)
        del self.known[project, auth_session_id]

    def fail(self) -> None:
        if self.failure is not None:
            raise self.failure
