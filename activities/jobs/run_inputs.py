"""Make the input of the Run of one item of a JobRun."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta

from schemas.workflow.base import HISTORY_BUDGET, INLINE_LIMIT, JsonRef
from schemas.workflow.job_run import JobRunPlan
from schemas.workflow.run import RunInput
from security import seal_context
from security.keyring import KeyRing
from security.sealed_sinks import reseal_sink
from storage import keys
from storage.job_payloads import JobItem
from storage.store import Store


async def make_run_input(plan: JobRunPlan, item: JobItem, run_id: str, *, store: Store, ring: KeyRing) -> RunInput:
    """Return the input of the Run of an item; large parameters are stored, always under the same key.

    Raises:
        StoreError: The store failed.
        SealError: A secret of the JobRun cannot be opened.
        ConfigurationError: There is no key to open or to seal it with.
    """
    attempts = plan.maximum_attempts if item.retry is None else item.retry.maximum_attempts
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
        request_timeout=timeout,
        trace=plan.trace,
        proxy=plan.proxy,
        auth=plan.auth,
        sink=sink,
        job=plan.job,
    )


async def _parameters(project: str, item: JobItem, run_id: str, attempts: int, store: Store) -> JsonRef:
    text = json.dumps(item.parameters, separators=(",", ":"))
    # The parameters are part of the input of every Attempt in the history, so more Attempts leave less room for each.
    if len(text) <= min(INLINE_LIMIT, HISTORY_BUDGET // attempts):
        return JsonRef(text=text, size=len(text))
    key = keys.parameters(project, run_id, hashlib.sha256(text.encode("ascii")).hexdigest())
    await store.put(key, text.encode("ascii"))
    return JsonRef(key=key, size=len(text))
