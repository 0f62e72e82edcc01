"""All waits of a process for the ends of Runs: one for each Run, however many clients wait for it.

A wait on a workflow's history hears of its end at once, but occupies a place at Temporal, whose frontend allows 1,200
such places by default. So only some waits are of this kind. The other Runs are looked up in visibility together, about
once a second; those that have ended are read from their histories, which takes no time. The same lookups tell which of
the others have started, so that nobody has to ask for each of them when thousands of waits are over at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from datetime import timedelta
from itertools import batched
from typing import Any

from temporalio.client import Client, WorkflowExecutionStatus

from callboard.schemas.workflow import names
from callboard.schemas.workflow.run import RunOutcome, RunStatus
from callboard.temporal.closing import wait_for_outcome
from callboard.temporal.rpc_errors import RPC_TIMEOUT, is_overload

log = logging.getLogger(__name__)

_DIRECT_WAITS = 400
"""How many Runs are waited for on their histories from the start."""

_READS = 100
"""How many Runs that visibility says have ended are read at once; together with the above, this leaves Temporal places
enough."""

_READ_TIMEOUT = 5.0
"""Seconds after which such a Run is looked up anew: it may have been reset in Temporal, and so be running again."""

_LOOKUP_INTERVAL = 1.0
"""Seconds between two lookups of the same Run."""

_LONGEST_INTERVAL = 4.0
"""Seconds between two lookups while Temporal refuses them; each refusal doubles the interval up to this."""

_BATCH = 2500
"""Run ids in one query. Databases allow more, but each query should be quick."""

_QUERY_INTERVAL = 0.25
"""Least seconds from the beginning of a query to that of the next one. A frontend allows each namespace 10 queries a
second by default, and lists of Runs need some of them."""

_PAGE_SIZE = 1000


class _Wait:
    """The wait for the end of one Run."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.waiters = 0
        self.is_over = asyncio.Event()
        self.outcome: RunOutcome | None = None
        self.error: Exception | None = None
        self.status: RunStatus | None = None
        """Status of the Run at its last lookup in visibility; None if there was none."""
        self.task: asyncio.Task[None] | None = None
        """Wait on the history; None while the Run is looked up in visibility."""


class RunWaits:
    """The owner of all waits of a process for the ends of Runs."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._waits: dict[str, _Wait] = {}
        """All waits that have not been settled, by the id of the Run."""
        self._looked_up: dict[str, _Wait] = {}
        """Those of them whose Runs are looked up in visibility."""
        self._lookups: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._direct_waits = 0
        self._reads = asyncio.Semaphore(_READS)

    async def wait(self, run_id: str, timeout: timedelta) -> RunOutcome | RunStatus | None:
        """Return how the Run ended, as soon as it has.

        If that takes longer than `timeout`, return its status of a moment ago, if visibility was asked for it, else
        None; after `close`, None. A caller that is cancelled leaves nothing behind.

        Raises:
            RPCError, RuntimeError: Temporal does not answer.
        """
        wait = self._waits.get(run_id) or self._begin(run_id)
        wait.waiters += 1
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                await wait.is_over.wait()
        except TimeoutError:
            return wait.status
        finally:
            wait.waiters -= 1
            if not wait.waiters:
                self._give_up(wait)
        if wait.error is not None:
            raise wait.error.with_traceback(None)  # Else the traceback would grow with each waiter that raises it.
        return wait.outcome

    async def close(self) -> None:
        """Release all waiters, and end all that this object has begun."""
        for wait in list(self._waits.values()):
            self._end(wait)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, run_id: str) -> _Wait:
        wait = self._waits[run_id] = _Wait(run_id)
        if self._direct_waits < _DIRECT_WAITS:
            self._direct_waits += 1
            wait.task = self._create_task(self._wait_on_history(wait))
            wait.task.add_done_callback(self._release_direct_wait)
        else:
            self._look_up(wait)
        return wait

    def _release_direct_wait(self, _task: asyncio.Task[None]) -> None:
        self._direct_waits -= 1

    def _give_up(self, wait: _Wait) -> None:
        """End a wait that nobody needs any more."""
        self._end(wait)
        if wait.task is not None:
            wait.task.cancel()

    def _end(self, wait: _Wait, outcome: RunOutcome | None = None, error: Exception | None = None) -> None:
        """Tell all waiters, unless they have been told already."""
        if self._is_open(wait):
            del self._waits[wait.run_id]
            self._looked_up.pop(wait.run_id, None)
            wait.outcome, wait.error = outcome, error
            wait.is_over.set()

    def _is_open(self, wait: _Wait) -> bool:
        """Tell whether somebody waits for it; there may be another wait for the same Run since."""
        return self._waits.get(wait.run_id) is wait

    def _create_task(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _wait_on_history(self, wait: _Wait) -> None:
        """Wait until the Run has ended. If Temporal has no place for that, look it up in visibility from now on."""
        handle = self._client.get_workflow_handle(wait.run_id, result_type=RunOutcome)
        try:
            self._end(wait, await wait_for_outcome(handle))
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait are told
            if is_overload(error):
                self._look_up(wait)
            else:
                self._end(wait, error=error)

    async def _read(self, wait: _Wait) -> None:
        """Read the end of a Run that visibility says has ended."""
        async with self._reads:
            try:
                async with asyncio.timeout(_READ_TIMEOUT):
                    await self._wait_on_history(wait)
            except TimeoutError:
                self._look_up(wait)

    def _look_up(self, wait: _Wait) -> None:
        """Look up the Run in visibility from now on, if somebody waits for it."""
        if self._is_open(wait):
            wait.task = None
            self._looked_up[wait.run_id] = wait
            if self._lookups is None or self._lookups.done():
                self._lookups = self._create_task(self._look_up_all())

    async def _look_up_all(self) -> None:
        """Look up the Runs again and again, as long as there are any."""
        loop = asyncio.get_running_loop()
        interval = _LOOKUP_INTERVAL
        while self._looked_up:
            batches = list(batched(self._looked_up, _BATCH))
            try:
                for batch in batches:
                    next_query = loop.time() + max(interval / len(batches), _QUERY_INTERVAL)
                    await self._look_up_batch(batch)
                    await asyncio.sleep(next_query - loop.time())
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait are told
                if not is_overload(error):
                    for wait in list(self._looked_up.values()):
                        self._end(wait, error=error)
                    return
                interval = min(2 * interval, _LONGEST_INTERVAL)
                log.warning("Temporal cannot tell so often which Runs have ended: asking in %g seconds", interval)
                await asyncio.sleep(interval)
            else:
                interval = _LOOKUP_INTERVAL

    async def _look_up_batch(self, run_ids: Sequence[str]) -> None:
        """Note which of the Runs have started, and begin to read those that have ended. Raises RPCError."""
        quoted = ", ".join(f"'{run_id}'" for run_id in run_ids)  # A Run's id needs no escaping.
        has_moved = f"(ExecutionStatus != 'Running' OR {names.SEARCH_STATUS} = '{RunStatus.STARTED}')"
        query = f"WorkflowId IN ({quoted}) AND {has_moved}"
        executions = self._client.list_workflows(query, page_size=_PAGE_SIZE, rpc_timeout=RPC_TIMEOUT)
        statuses = dict.fromkeys(run_ids, RunStatus.PENDING)
        ended: list[str] = []
        async for execution in executions:
            if execution.status is WorkflowExecutionStatus.RUNNING:
                statuses[execution.id] = RunStatus.STARTED
            else:
                ended.append(execution.id)
        for run_id, status in statuses.items():
            if run_id in self._looked_up:
                self._looked_up[run_id].status = status
        for run_id in ended:
            wait = self._looked_up.pop(run_id, None)
            if wait is not None:
                wait.task = self._create_task(self._read(wait))
