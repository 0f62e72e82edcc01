"""The items of a JobRun by their numbers, those of its payload first, then those that Runs add; and the Run of each.

A Run is started, found and canceled, and its end is awaited.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from temporalio.client import Client
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.store_retry import retry_store
from callboard.projects.variables import may_have_variables
from callboard.schemas.errors import ConfigurationError, SealError, Unavailable
from callboard.schemas.workflow import names
from callboard.schemas.workflow.base import HISTORY_BUDGET, INLINE_LIMIT, JsonRef
from callboard.schemas.workflow.job import PAYLOAD_CHUNK
from callboard.schemas.workflow.job_run import JobRunPlan
from callboard.schemas.workflow.run import RetryIntervals, RunInput, RunOutcome
from callboard.security import seal_context
from callboard.security.keyring import KeyRing
from callboard.security.sealed_sinks import reseal_sink
from callboard.storage import object_keys
from callboard.storage.job_payloads import ChunkKey, JobItem, JobItemRetry, read_lines
from callboard.storage.store import Store
from callboard.temporal.closing import TERMINATED
from callboard.temporal.rpc_errors import RPC_TIMEOUT, is_transient, signal_if_running, unless_missing
from callboard.temporal.run_waits import RunWaits
from callboard.temporal.runs import start_run_workflow

log = logging.getLogger(__name__)

STORE_TIMEOUT = timedelta(minutes=10)
"""How long a piece of a JobRun retries a store that fails, before Temporal begins the piece anew."""

_CHUNKS = 8
"""How many artifacts with items are kept in memory."""
_WAIT = timedelta(minutes=10)
_PAUSE = 1.0
"""Seconds until Temporal is asked again after it has not answered."""


class JobItems:
    """Reads and adds items. What it has read does not change as long as it adds none."""

    def __init__(self, plan: JobRunPlan, store: Store) -> None:
        self._plan = plan
        self._store = store
        self._chunks: dict[str, list[bytes]] = {}

    async def get(self, number: int) -> JobItem:
        """Return an item. Raises StoreError."""
        count = self._plan.payload_count
        key, first = (self._payload_key, number) if number < count else (self._added_key, number - count)
        begin = first - first % PAYLOAD_CHUNK
        return JobItem.from_line((await self._read(key, begin))[first - begin])

    async def append(self, total: int, items: list[JobItem]) -> None:
        """Store items behind the first `total` ones; what an earlier try has stored there is replaced.

        Raises:
            StoreError: The store failed; repeating helps.
        """
        first = total - self._plan.payload_count
        begin = first - first % PAYLOAD_CHUNK
        kept = await read_lines(self._store, self._added_key, begin, first - begin) if first > begin else []
        lines = kept + [item.to_line() for item in items]
        for offset in range(0, len(lines), PAYLOAD_CHUNK):
            data = b"".join(line + b"\n" for line in lines[offset : offset + PAYLOAD_CHUNK])
            await self._store.put(self._added_key(begin + offset), data)

    async def _read(self, key: ChunkKey, begin: int) -> list[bytes]:
        name = key(begin)
        lines = self._chunks.pop(name, None)
        if lines is None:
            lines = await read_lines(self._store, key, begin, PAYLOAD_CHUNK)
        self._chunks[name] = lines
        if len(self._chunks) > _CHUNKS:
            del self._chunks[next(iter(self._chunks))]
        return lines

    def _payload_key(self, first: int) -> str:
        if self._plan.has_own_payload:
            return object_keys.job_run_payload(self._plan.project, self._plan.job_run_id, first)
        return object_keys.job_payload(self._plan.project, self._plan.job_id, self._plan.definition, first)

    def _added_key(self, first: int) -> str:
        return object_keys.job_run_payload(self._plan.project, self._plan.job_run_id, self._plan.payload_count + first)


@dataclass(frozen=True)
class ItemRuns:
    """The Runs of the items of one JobRun."""

    plan: JobRunPlan
    client: Client
    store: Store
    ring: KeyRing
    waits: RunWaits
    dev_projects: Path | None
    """The project folders of `callboard dev`."""

    def id_of(self, number: int) -> str:
        """Return the id of the Run of an item."""
        return names.job_item_run_id(self.plan.job_run_id, number)

    async def start(self, number: int, item: JobItem) -> None:
        """Start the Run of an item, unless an earlier try of this piece has started it.

        Raises:
            StoreError: The store has failed for long.
            RPCError: Temporal refuses for good.
        """
        run_id = self.id_of(number)
        run_input = await retry_store(
            STORE_TIMEOUT,
            lambda: make_run_input(
                self.plan, item, run_id, store=self.store, ring=self.ring, dev_projects=self.dev_projects
            ),
        )
        while True:
            try:
                await start_run_workflow(self.client, run_id, run_input, batch=self.plan.job_run_id)
            except WorkflowAlreadyStartedError:
                return
            except (RPCError, RuntimeError) as error:
                await _pause(error, f"start Run {run_id}")
            else:
                return

    async def exists(self, number: int) -> bool:
        """Tell whether the Run of an item was started. Raises RPCError."""
        handle = self.client.get_workflow_handle(self.id_of(number))
        return await unless_missing(handle.describe(rpc_timeout=RPC_TIMEOUT)) is not None

    async def terminate(self, number: int) -> None:
        """Tell a Run that its JobRun is terminated, if it has not ended yet. Raises RPCError."""
        await signal_if_running(self.client, self.id_of(number), names.JOB_RUN_TERMINATED)

    async def wait(self, number: int) -> RunOutcome:
        """Return how the Run of an item ended, as soon as it has.

        Raises:
            RPCError: Temporal refuses for good.
            Unavailable: This worker has no key for what the Run has returned. Another one may have it.
        """
        run_id = self.id_of(number)
        while True:
            try:
                with _translated_decryption(run_id):
                    answer = await self.waits.wait(run_id, _WAIT)
            except (RPCError, RuntimeError) as error:
                if isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND:
                    log.warning("Run %s is not in Temporal any more; it counts as terminated", run_id)
                    return TERMINATED
                await _pause(error, f"wait for the end of Run {run_id}")
            else:
                if isinstance(answer, RunOutcome):
                    return answer


@contextmanager
def _translated_decryption(run_id: str) -> Generator[None]:
    """Raise Unavailable where an outcome cannot be decrypted: another worker may have the key by now."""
    try:
        yield
    except (ConfigurationError, SealError) as error:
        raise Unavailable(f"How Run {run_id} ended cannot be read: {error.message}") from error


async def _pause(error: RPCError | RuntimeError, operation: str) -> None:
    """Wait a moment if repeating may help; raise the error if not."""
    if isinstance(error, RPCError) and not is_transient(error):
        raise error
    log.info("Temporal did not %s: %s", operation, error)
    await asyncio.sleep(_PAUSE)


async def make_run_input(
    plan: JobRunPlan, item: JobItem, run_id: str, *, store: Store, ring: KeyRing, dev_projects: Path | None
) -> RunInput:
    """Return the input of the Run of an item; large parameters are stored, always under the same key.

    Raises:
        StoreError: The store failed.
        SealError: A secret of the JobRun cannot be opened.
        ConfigurationError: There is no key to open or to seal it with.
    """
    retry = item.retry or JobItemRetry()
    attempts = retry.maximum_attempts or plan.maximum_attempts
    timeout = plan.request_timeout if item.request_timeout is None else timedelta(seconds=item.request_timeout)
    sink = plan.sink
    if sink is not None:
        sink = reseal_sink(
            sink,
            ring,
            bound_to=seal_context.run(plan.workspace, plan.project, plan.job_run_id),
            for_owner=seal_context.run(plan.workspace, plan.project, run_id),
        )
    return RunInput(
        workspace=plan.workspace,
        project=plan.project,
        version=plan.version,
        api=item.api_name,
        parameters=await _parameters(plan.project, item, run_id, attempts, store),
        maximum_attempts=attempts,
        retry_intervals=RetryIntervals.first_said(retry, plan.retry_intervals),
        request_timeout=timeout,
        trace=plan.trace,
        proxy=plan.proxy,
        auth=plan.auth,
        sink=sink,
        reads_variables=await may_have_variables(store, plan.project, dev_projects),
        tags=tuple(dict.fromkeys((*plan.tags, *(item.tags or ())))),
        job=plan.job,
        has_alerts=plan.has_alerts,
    )


async def _parameters(project: str, item: JobItem, run_id: str, attempts: int, store: Store) -> JsonRef:
    text = json.dumps(item.parameters, separators=(",", ":"))
    # The parameters are part of the input of every Attempt in the history, so more Attempts leave less room for each.
    if len(text) <= min(INLINE_LIMIT, HISTORY_BUDGET // attempts):
        return JsonRef(text=text, size=len(text))
    key = object_keys.parameters(project, run_id, hashlib.sha256(text.encode("ascii")).hexdigest())
    await store.put(key, text.encode("ascii"))
    return JsonRef(key=key, size=len(text))
