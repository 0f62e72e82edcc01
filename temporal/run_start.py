"""Start the workflow of a Run: for a request, or for an item of a JobRun."""

from __future__ import annotations

from typing import Any

from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy

from schemas.workflow import names
from schemas.workflow.run import RunInput
from telemetry import metrics
from temporal.rpc_errors import RPC_TIMEOUT
from workflows.priorities import pending_priority
from workflows.visibility import run_memo, run_search_attributes


async def start_run_workflow(
    client: Client, run_id: str, run_input: RunInput, *, memo: dict[str, Any] | None = None
) -> None:
    """Start workflow `Run` with id `run_id`, of which there was none before; `memo` replaces what each Run has in it.

    Raises:
        WorkflowAlreadyStartedError: There is, or was, a Run with this id.
        RPCError, RuntimeError: Temporal refuses, or does not answer.
    """
    await client.start_workflow(
        names.RUN,
        run_input,
        id=run_id,
        task_queue=names.RUNS_QUEUE,
        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        static_summary=f"{run_input.project}/{run_input.api}",
        static_details=_static_details(run_input),
        priority=pending_priority(run_input.job, run_input.project),
        memo=run_memo(run_input, fingerprint="") if memo is None else memo,
        search_attributes=run_search_attributes(run_input),
        rpc_timeout=RPC_TIMEOUT,
    )
    metrics.current().run_accepted(run_input.project)


def _static_details(run_input: RunInput) -> str:
    """Describe the Run for the reader of the Temporal Web UI, in Markdown, without any secret."""
    lines = [
        f"API `{run_input.api}` of project `{run_input.project}`, version `{run_input.version}`",
        f"Up to {run_input.maximum_attempts} Attempt(s) of {run_input.request_timeout.total_seconds():g} seconds",
    ]
    if run_input.queue_timeout is not None:
        lines.append(f"Fails if it waits longer than {run_input.queue_timeout.total_seconds():g} seconds for a Machine")
    if run_input.job is not None:
        lines.append(f"Belongs to JobRun `{run_input.job.job_run_id}` of Job `{run_input.job.job_id}`")
    if run_input.auth is not None:
        lines.append(f"AuthSession `{run_input.auth.ref.id}`, validated before each Attempt")
    if run_input.sink is not None:
        lines.append(f"The result is delivered to `{run_input.sink.target}`")
    return "\n".join(f"- {line}" for line in lines)
