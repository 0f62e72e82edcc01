"""Activity `attempt`: one Attempt, from its order to a durable outcome (DESIGN section 3)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from activities.environments import ProjectEnvironments
from activities.patience import patiently
from activities.records import Records, interruption
from activities.ticket import Cause, Ticket, Tickets
from activities.values import ProjectValues
from contract.errors import ConfigurationError, MachineError, SealError, StoreError
from contract.flow import names
from contract.flow.attempt import (
    INTERRUPTED,
    AttemptInput,
    AttemptOutcome,
    AttemptRecord,
    AttemptStarted,
    AttemptStatus,
)
from contract.flow.base import INLINE_LIMIT, MESSAGE_LIMIT, JsonText, clip
from contract.flow.run import ErrorCode, RunError
from machines.machine import Begun
from machines.order import End, Order, Proxy, Report, Version
from machines.persist import to_the_end
from machines.pool import Pool
from projects.catalog import Catalog
from projects.versions import VersionFolders
from security.keyring import KeyRing
from storage import keys
from storage.store import Store

log = logging.getLogger(__name__)

ANNOUNCE_AFTER = 0.5
"""Seconds. An Attempt that is over sooner says nothing of its start: that would cost its Run a workflow task."""
HEARTBEAT_EVERY = 5.0
STORE_PATIENCE = timedelta(minutes=10)
"""How long a result waits for a store that fails, before its Run fails."""
RECORD_PATIENCE = timedelta(seconds=30)
"""How long an outcome waits for its record: a lost record fails nothing, and holds up no Run for long."""
LAST_WORDS_PATIENCE = timedelta(seconds=5)
"""The same for the record of an Attempt that was stopped: somebody waits for its end."""


class Pools(Protocol):
    """Where the Machines of a project are."""

    def of(self, project: str) -> Pool:
        """The pool of a project that this worker serves."""
        ...


class AttemptActivity:
    """The activity with what it works on."""

    def __init__(
        self,
        *,
        worker: str,
        client: Client,
        store: Store,
        catalog: Catalog,
        versions: VersionFolders,
        environments: ProjectEnvironments,
        pools: Pools,
        keyring: KeyRing,
        tickets: Tickets,
        journal: Callable[[str, int], contextlib.AbstractContextManager[None]],
    ) -> None:
        self._worker = worker
        self._client = client
        self._store = store
        self._records = Records(store)
        self._catalog = catalog
        self._versions = versions
        self._environments = environments
        self._pools = pools
        self._keyring = keyring
        self._tickets = tickets
        self._journal = journal

    @activity.defn(name=names.ATTEMPT)
    async def attempt(self, order: AttemptInput) -> AttemptOutcome:
        """Execute one Attempt on a Machine and leave its result and record in the store.

        Raises:
            ApplicationError: of type `AttemptInterrupted`: this worker could not finish it, and it does not count.
        """
        progress = _Progress(order, self._worker)
        with self._journal(order.run_id, order.number):
            work = asyncio.create_task(self._work(order, progress), name=f"attempt {order.run_id} {order.number}")
            with self._tickets.hold(order.run_id, order.number, work) as ticket:
                return await _passing_cancels_to(ticket, self._to_its_end(order, progress, ticket))

    async def _to_its_end(self, order: AttemptInput, progress: _Progress, ticket: Ticket) -> AttemptOutcome:
        async with _heartbeats():
            await asyncio.wait({ticket.work})
            if not ticket.work.cancelled():
                # The work is done, so no stop can reach it any more: an outcome that is there stands.
                outcome: AttemptOutcome = ticket.work.result()
                record = progress.record(outcome.status, outcome.error)
                await self._records.write(order.project, record, within=RECORD_PATIENCE)
                return outcome
            if ticket.cause is Cause.CANCELED:
                record = progress.record(AttemptStatus.CANCELED)
            else:
                record = progress.record(AttemptStatus.INTERRUPTED, interruption(ticket.message))
            await self._records.write(order.project, record, within=LAST_WORDS_PATIENCE)
        if ticket.cause is Cause.CANCELED:
            return AttemptOutcome(status=AttemptStatus.CANCELED)
        raise ApplicationError(ticket.message, type=INTERRUPTED, non_retryable=True)

    async def _work(self, order: AttemptInput, progress: _Progress) -> AttemptOutcome:
        # The record of the start is the announcement's, and is written before the work counts as done: it must not
        # come after that of the end.
        async with self._announcement(order, progress):
            return await self._carry_out(order, progress)

    async def _carry_out(self, order: AttemptInput, progress: _Progress) -> AttemptOutcome:
        try:
            version = await self._version(order)
            machine_order = await self._machine_order(order)
            report = await self._pools.of(order.project).run(version, machine_order, progress.begin)
            progress.attributes = report.attributes or None
            return await self._store_result(order, report)
        except (MachineError, ConfigurationError, SealError) as error:
            return _failed(f"The Attempt could not begin: {error.message}")
        except StoreError as error:
            return _failed(f"The artifact store failed: {error.message}", final=True)

    async def _version(self, order: AttemptInput) -> Version:
        manifest = await patiently(STORE_PATIENCE, lambda: self._catalog.manifest(order.project, order.version))
        if manifest is None:
            raise StoreError(f"version {order.version} of project {order.project} is not there any more.")
        folder = await patiently(STORE_PATIENCE, lambda: self._versions.ensure(order.project, order.version))
        around = await self._environments.of(manifest, folder, patience=STORE_PATIENCE)
        size = manifest.settings.browser_size
        return Version(
            project=order.project,
            version=order.version,
            folder=folder,
            memory_limit=manifest.settings.memory_limit,
            width=size.width,
            height=size.height,
            headful=manifest.settings.headful,
            python=around.python,
            variables=around.variables,
        )

    async def _machine_order(self, order: AttemptInput) -> Order:
        parameters, key = order.parameters.text, order.parameters.key
        if parameters is None and key is not None:
            stored = await patiently(STORE_PATIENCE, lambda: self._store.get(key))
            parameters = None if stored is None else stored.decode()
        if parameters is None:
            raise StoreError(f"{key} is not there any more.")
        proxy = self._open_proxy(order)
        return Order(
            run_id=order.run_id,
            number=order.number,
            api=order.api,
            parameters=parameters,
            timeout=order.request_timeout,
            proxy=proxy,
            services=ProjectValues(self._store, order.project),
            run_info={"run_id": order.run_id, "proxy": proxy.server if proxy else None},
        )

    def _open_proxy(self, order: AttemptInput) -> Proxy | None:
        proxy = order.proxy
        if proxy is None:
            return None
        bound_to = f"{order.workspace}/{order.project}/{order.run_id}"

        def opened(token: str | None) -> str | None:
            return None if token is None else self._keyring.open(token, bound_to=bound_to)

        return Proxy(server=proxy.server, username=opened(proxy.username), password=opened(proxy.password))

    async def _store_result(self, order: AttemptInput, report: Report) -> AttemptOutcome:
        if report.end is not End.COMPLETED or report.result is None:
            return AttemptOutcome(status=AttemptStatus.FAILED, error=report.error, final=report.final)
        payloads = report.extended_payloads
        return AttemptOutcome(
            status=AttemptStatus.COMPLETED,
            result=await self._keep(order, "result.json", report.result),
            extended_payloads=(payloads and await self._keep(order, "extended-payloads.json", payloads)) or None,
        )

    async def _keep(self, order: AttemptInput, name: str, text: str) -> JsonText:
        """Small: it travels with the outcome. Large: it lies in the store before the outcome is returned."""
        if len(text) <= INLINE_LIMIT:
            return JsonText(text=text, size=len(text))
        key = keys.attempt(order.project, order.run_id, order.number, name)
        await patiently(STORE_PATIENCE, lambda: self._store.put(key, text.encode()))
        return JsonText(key=key, size=len(text))

    @asynccontextmanager
    async def _announcement(self, order: AttemptInput, progress: _Progress) -> AsyncGenerator[None]:
        """Tell the Run that its Attempt is on a Machine, once it has been for a moment; and write that down."""

        async def announce() -> None:
            await asyncio.sleep(ANNOUNCE_AFTER)
            info = activity.info()
            handle = self._client.get_workflow_handle(order.run_id, run_id=info.workflow_run_id)
            try:
                await handle.signal(names.ATTEMPT_STARTED, progress.started())
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:  # the Run may be over
                    log.warning("Run %s: its start could not be told: %s", order.run_id, error.message)
            started = progress.record(AttemptStatus.STARTED)
            await self._records.write_first(order.project, started, within=LAST_WORDS_PATIENCE)

        async with _beside(announce(), "announcement"):
            yield


class _Progress:
    """What is known of the Attempt so far, for its record."""

    def __init__(self, order: AttemptInput, worker: str) -> None:
        info = activity.info()
        self._order = order
        self._worker = worker
        self._queued_at = info.scheduled_time
        self._taken_at = info.started_time
        self._begun: Begun | None = None
        self.attributes: dict[str, Any] | None = None

    def begin(self, begun: Begun) -> None:
        self._begun = begun

    def started(self) -> AttemptStarted:
        machine = self._begun.machine if self._begun else "that is starting"
        return AttemptStarted(number=self._order.number, machine=machine, worker=self._worker)

    def record(self, status: AttemptStatus, error: RunError | None = None) -> AttemptRecord:
        begun = self._begun
        return AttemptRecord(
            run_id=self._order.run_id,
            number=self._order.number,
            status=status,
            api=self._order.api,
            version=self._order.version,
            queued_at=self._queued_at,
            started_at=begun.at if begun else self._taken_at,
            ended_at=None if status is AttemptStatus.STARTED else datetime.now(UTC),
            machine=begun.machine if begun else None,
            worker=self._worker,
            browser_version=begun.browser_version if begun else None,
            error=error,
            attributes=self.attributes,
        )


async def _passing_cancels_to(ticket: Ticket, course: Coroutine[Any, Any, AttemptOutcome]) -> AttemptOutcome:
    """Await `course`. A cancel by Temporal stops the Attempt by its ticket, and nothing else.

    So an outcome that is there when the cancel arrives stands, and what comes after the end, its record, is done.
    """
    task = asyncio.create_task(course)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.done():
                ticket.stop(*_cause_of_cancel())
        except Exception:  # noqa: BLE001  # raised below, by result()
            break
    return task.result()


def _cause_of_cancel() -> tuple[Cause, str]:
    details = activity.cancellation_details()
    if details is not None and details.cancel_requested:
        return Cause.CANCELED, ""
    if details is not None and (details.not_found or details.timed_out):
        return Cause.INTERRUPTED, "Temporal has given the Attempt up, as it did not hear from its worker."
    return Cause.INTERRUPTED, "The worker was stopped before the Attempt ended."


@asynccontextmanager
async def _heartbeats() -> AsyncGenerator[None]:
    """Say that we live. User code runs in another process and cannot hold this up."""

    async def beat() -> None:
        while True:
            activity.heartbeat()
            await asyncio.sleep(HEARTBEAT_EVERY)

    async with _beside(beat(), "heartbeats"):
        yield


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None], name: str) -> AsyncGenerator[None]:
    """Run `work` beside the block; it is stopped and awaited when the block ends."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        await to_the_end(_ended(task))


async def _ended(task: asyncio.Task[None]) -> None:
    await asyncio.wait({task})


def _failed(message: str, *, final: bool = False) -> AttemptOutcome:
    error = RunError(
        code=ErrorCode.INTERNAL_SERVER_ERROR,
        category="infrastructure",
        message=clip(message, MESSAGE_LIMIT),
        retirable=True,
    )
    return AttemptOutcome(status=AttemptStatus.FAILED, error=error, final=final)
