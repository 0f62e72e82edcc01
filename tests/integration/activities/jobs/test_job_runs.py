"""JobRuns with real Runs: each item is executed once, its result is there, and Runs add further items."""

from __future__ import annotations

import json
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle

from callboard.schemas.workflow import names
from callboard.schemas.workflow.attempt import AttemptInput, AttemptOutcome
from callboard.schemas.workflow.base import INLINE_LIMIT
from callboard.schemas.workflow.job import PAYLOAD_CHUNK, JobOverlap
from callboard.schemas.workflow.job_run import (
    JobRunPlan,
    JobRunProgress,
    JobRunReasonType,
    JobRunStatus,
    JobRunView,
    RerunSource,
)
from callboard.schemas.workflow.run import RunInput, RunJob
from callboard.storage import object_keys
from callboard.storage.job_payloads import JobItem
from tests.support.control_worker import JobLab, echo, extending, items, until_canceled
from tests.support.job_run_stage import end_of, shown
from tests.support.polling import until
from tests.support.present import assert_has, present
from tests.support.run_stage import completed, failed
from workflows import visibility


def parameters(attempt: AttemptInput) -> dict[str, Any]:
    return json.loads(present(attempt.parameters.text))


async def test_each_item_is_executed_once_and_its_result_is_there(job_lab: JobLab) -> None:
    handle = await job_lab.start(await job_lab.define(items(30)))
    view = await end_of(handle)
    assert view.status is JobRunStatus.SUCCESS
    assert view.progress == JobRunProgress(total=30, next=30, succeeded=30, shards=view.progress.shards)
    assert sorted(parameters(attempt)["n"] for attempt in job_lab.attempts) == list(range(30))
    results = await job_lab.results(handle.id)
    found = {line["apiInfo"]["runId"]: line["apiInfo"]["result"]["output"]["n"] for line in results}
    assert found == {names.job_item_run_id(handle.id, number): number for number in range(30)}
    assert len(results) == 30


async def test_no_more_runs_are_in_flight_than_there_may_be(job_lab: JobLab) -> None:
    held = [True]

    async def waits(attempt: AttemptInput) -> AttemptOutcome:
        await until(lambda: not held[0])
        return await echo(attempt)

    job_lab.on_attempt = waits
    handle = await job_lab.start(await job_lab.define(items(12), max_concurrent_requests=3))
    await until(lambda: job_lab.running == 3)
    held[0] = False
    assert (await end_of(handle)).progress.succeeded == 12
    assert job_lab.most_running == 3


async def test_by_default_two_runs_for_each_machine_are_in_flight_and_shown_so(job_lab: JobLab) -> None:
    job_lab.on_attempt = until_canceled
    handle = await job_lab.start(await job_lab.define(items(12)))
    await until(lambda: job_lab.running == 4)
    await handle.signal(names.PAUSE_JOB_RUN)
    await until(lambda: shown(handle), true=lambda view: len(view.progress.in_flight) == 4)
    await handle.signal(names.TERMINATE_JOB_RUN)
    assert (await end_of(handle)).progress.failed == 4
    assert len(job_lab.attempts) == 4


async def test_a_run_executes_the_version_deployed_when_its_job_run_began(job_lab: JobLab, client: Client) -> None:
    handle = await job_lab.start(await job_lab.define(items(1)))
    view = await end_of(handle)
    assert view.version == present(await job_lab.catalog.get_current(job_lab.project)).version
    job = RunJob(job_id="nightly", job_run_id=handle.id)
    (attempt,) = job_lab.attempts
    assert attempt.job == job
    run = client.get_workflow_handle(names.job_item_run_id(handle.id, 0))
    description = await run.describe()
    assert description.typed_search_attributes[visibility.JOB] == "nightly"
    assert description.typed_search_attributes[visibility.JOB_RUN] == handle.id
    priorities = []
    async for event in run.fetch_history_events():
        if event.HasField("workflow_execution_started_event_attributes"):
            started = event.workflow_execution_started_event_attributes
            priorities.append((started.priority.priority_key, started.priority.fairness_key))
            (run_input,) = await client.data_converter.decode(started.input.payloads, [RunInput])
            assert isinstance(run_input, RunInput)
            assert (run_input.job, run_input.version) == (job, view.version)
        if event.HasField("activity_task_scheduled_event_attributes"):
            priority = event.activity_task_scheduled_event_attributes.priority
            priorities.append((priority.priority_key, priority.fairness_key))
    assert priorities == [(names.PRIORITY_BATCH, handle.id)] * 2


async def test_failed_runs_do_not_fail_the_job_run(job_lab: JobLab) -> None:
    async def every_third_fails(attempt: AttemptInput) -> AttemptOutcome:
        return failed(final=True) if parameters(attempt)["n"] % 3 == 0 else await echo(attempt)

    job_lab.on_attempt = every_third_fails
    handle = await job_lab.start(await job_lab.define(items(9)))
    view = await end_of(handle)
    assert (view.status, view.progress.succeeded, view.progress.failed) == (JobRunStatus.SUCCESS, 6, 3)
    info = {line["apiInfo"]["parameters"]["n"]: line["apiInfo"] for line in await job_lab.results(handle.id)}
    assert info[3]["result"] is None
    assert info[3]["error"]["code"] == "script-execution-exception"
    assert info[4]["error"] is None
    assert info[4]["trace_url"].endswith(f"/runs/{names.job_item_run_id(handle.id, 4)}/attempts/1/trace")


async def test_what_an_item_says_goes_before_what_the_job_says(job_lab: JobLab) -> None:
    own = JobItem.model_validate(
        {"apiName": "other", "parameters": {"n": 1}, "requestTimeout": 7, "retry": {"maximumAttempts": 1}}
    )

    async def fails(attempt: AttemptInput) -> AttemptOutcome:
        return failed()

    job_lab.on_attempt = fails
    definition = await job_lab.define([*items(1), own], maximum_attempts=2, max_concurrent_requests=1)
    await end_of(await job_lab.start(definition))
    made = [(attempt.api, attempt.number, attempt.request_timeout.total_seconds()) for attempt in job_lab.attempts]
    assert made == [("item", 1, 600), ("item", 2, 600), ("other", 1, 7)]


async def test_large_parameters_are_kept_in_the_store(job_lab: JobLab) -> None:
    async def done(_attempt: AttemptInput) -> AttemptOutcome:
        return completed()

    job_lab.on_attempt = done
    handle = await job_lab.start(await job_lab.define(items(2, text="x" * INLINE_LIMIT)))
    await end_of(handle)
    for attempt in job_lab.attempts:
        key = present(attempt.parameters.key)
        assert key.startswith(object_keys.run(job_lab.project, attempt.run_id))
        assert await job_lab.store.exists(key)


async def test_runs_add_items_to_any_depth(job_lab: JobLab) -> None:
    async def two_children_twice(attempt: AttemptInput) -> AttemptOutcome:
        own = parameters(attempt)
        depth = own.get("depth", 0)
        if depth == 2:
            return await echo(attempt)
        children = [{"path": [*own.get("path", [own["n"]]), child], "depth": depth + 1} for child in (0, 1)]
        return extending(await echo(attempt), *[{"n": own["n"], **child} for child in children])

    job_lab.on_attempt = two_children_twice
    handle = await job_lab.start(await job_lab.define(items(3)))
    view = await end_of(handle)
    assert view.progress.total == view.progress.succeeded == 3 + 6 + 12
    results = await job_lab.results(handle.id)
    paths = [tuple(line["apiInfo"]["parameters"].get("path", [line["apiInfo"]["parameters"]["n"]])) for line in results]
    assert sorted(paths) == sorted(
        [(n,) for n in range(3)]
        + [(n, first) for n in range(3) for first in (0, 1)]
        + [(n, first, second) for n in range(3) for first in (0, 1) for second in (0, 1)]
    )


async def test_a_run_that_has_failed_adds_nothing(job_lab: JobLab) -> None:
    async def fails(attempt: AttemptInput) -> AttemptOutcome:
        return extending(failed(final=True), {"n": 7})

    job_lab.on_attempt = fails
    view = await end_of(await job_lab.start(await job_lab.define(items(2))))
    assert (view.progress.total, view.progress.failed) == (2, 2)


async def test_more_items_than_one_artifact_holds_are_added(job_lab: JobLab) -> None:
    count = PAYLOAD_CHUNK + 10

    async def adds_many(attempt: AttemptInput) -> AttemptOutcome:
        own = parameters(attempt)
        if "child" in own:
            return await echo(attempt)
        return extending(await echo(attempt), *[{"n": own["n"], "child": child} for child in range(count)])

    job_lab.on_attempt = adds_many
    handle = await job_lab.start(await job_lab.define(items(2), max_runs=8))
    view = await end_of(handle)
    assert view.progress.total == 2 + 2 * count
    assert view.progress.succeeded == view.progress.next == 8
    found = [key async for key in job_lab.store.list(f"{object_keys.job_run(job_lab.project, handle.id)}payload/")]
    assert found == [
        object_keys.job_run_payload(job_lab.project, handle.id, 2 + first)
        for first in (0, PAYLOAD_CHUNK, 2 * PAYLOAD_CHUNK)
    ]


async def test_a_rerun_executes_what_failed_with_what_the_items_had(job_lab: JobLab) -> None:
    healed = [False]

    async def odd_ones_fail(attempt: AttemptInput) -> AttemptOutcome:
        own = parameters(attempt)
        if own["n"] % 2 and not healed[0]:
            return failed(final=True)
        outcome = await echo(attempt)
        added = [] if "child" in own else [{"n": 10 + own["n"], "child": 1}, {"n": 11 + own["n"], "child": 2}]
        return extending(outcome, *added) if added else outcome

    job_lab.on_attempt = odd_ones_fail
    payload = [item.model_copy(update={"tags": (f"n{number}",)}) for number, item in enumerate(items(3))]
    definition = await job_lab.define(payload, tags=("shop",))
    handle = await job_lab.start(definition)
    progress = (await end_of(handle)).progress
    assert (progress.total, progress.succeeded, progress.failed) == (7, 4, 3), "item 1, and of each pair the second one"
    healed[0], job_lab.attempts[:] = True, []
    rerun = await job_lab.rerun(definition, handle, progress.total)
    view = await end_of(rerun)
    assert (view.rerun_of, view.progress.total, view.progress.succeeded) == (handle.id, 5, 5)
    assert sorted(parameters(attempt)["n"] for attempt in job_lab.attempts) == [1, 11, 11, 12, 13]
    (first,) = [attempt for attempt in job_lab.attempts if parameters(attempt)["n"] == 1]
    described = await job_lab.client.get_workflow_handle(first.run_id).describe()
    assert described.typed_search_attributes[visibility.TAGS] == ["shop", "n1"]
    healed[0] = False
    again = await job_lab.rerun(definition, rerun, view.progress.total)
    assert (await end_of(again)).status is JobRunStatus.SUCCESS
    plan = JobRunPlan.model_validate_json(
        present(await job_lab.store.get(object_keys.job_run_plan(job_lab.project, again.id)))
    )
    assert plan.payload_count == 0, "all of the rerun, also what its Runs have added, has completed"


async def test_a_rerun_executes_what_never_started(job_lab: JobLab) -> None:
    job_lab.on_attempt = until_canceled
    definition = await job_lab.define(items(PAYLOAD_CHUNK + 10), max_runs=PAYLOAD_CHUNK + 2, max_concurrent_requests=30)
    handle = await job_lab.start(definition)
    await until(lambda: job_lab.running == 30)
    await handle.signal(names.TERMINATE_JOB_RUN)
    assert (await end_of(handle)).progress.failed == 30
    job_lab.on_attempt, job_lab.attempts = echo, []
    view = await end_of(await job_lab.rerun(definition, handle, PAYLOAD_CHUNK + 2))
    assert view.progress.succeeded == view.progress.total == PAYLOAD_CHUNK + 2
    assert {parameters(attempt)["n"] for attempt in job_lab.attempts} == set(range(PAYLOAD_CHUNK + 2))


async def test_a_rerun_of_a_job_run_without_a_plan_executes_the_payload_of_its_job(job_lab: JobLab) -> None:
    definition = await job_lab.define(items(2))
    source = RerunSource(job_run_id=names.job_run_id("x" * 16), item_count=None, unfinished=2)
    rerun = await job_lab.start(definition, source)
    assert (await end_of(rerun)).progress.succeeded == 2


async def test_a_rerun_fails_with_a_sentence_if_results_are_not_kept_any_more(job_lab: JobLab) -> None:
    definition = await job_lab.define(items(1))
    handle = await job_lab.start(definition)
    await end_of(handle)
    async for key in job_lab.store.list(object_keys.job_run_results(job_lab.project, handle.id)):
        await job_lab.store.delete(key)
    view = await end_of(await job_lab.rerun(definition, handle, 1))
    assert view.status is JobRunStatus.FAILURE
    assert view.error == f"The results of JobRun {handle.id} are not kept any more."


async def test_no_more_runs_are_started_than_max_runs(job_lab: JobLab) -> None:
    handle = await job_lab.start(await job_lab.define(items(10), max_runs=4))
    view = await end_of(handle)
    assert view.status is JobRunStatus.SUCCESS
    assert view.progress == JobRunProgress(total=10, next=4, succeeded=4, shards=view.progress.shards)
    assert sorted(parameters(attempt)["n"] for attempt in job_lab.attempts) == [0, 1, 2, 3]


async def test_a_terminated_job_run_cancels_its_runs_and_says_why(job_lab: JobLab) -> None:
    job_lab.on_attempt = until_canceled
    handle = await job_lab.start(await job_lab.define(items(10), max_concurrent_requests=3))
    await until(lambda: job_lab.running == 3)
    await handle.signal(names.TERMINATE_JOB_RUN)
    view = await end_of(handle)
    assert job_lab.running == 0
    assert view.status is JobRunStatus.TERMINATED
    assert view.progress == JobRunProgress(total=10, next=3, failed=3, shards=view.progress.shards)
    reasons = [line["apiInfo"]["reason"]["type"] for line in await job_lab.results(handle.id)]
    assert reasons == ["job-run-terminated"] * 3


async def test_a_run_that_somebody_terminates_in_temporal_is_counted(job_lab: JobLab, client: Client) -> None:
    job_lab.on_attempt = until_canceled
    handle = await job_lab.start(await job_lab.define(items(1)))
    await until(lambda: job_lab.running == 1)
    await client.get_workflow_handle(names.job_item_run_id(handle.id, 0)).terminate()
    view = await end_of(handle)
    assert (view.status, view.progress.failed) == (JobRunStatus.SUCCESS, 1)
    (line,) = await job_lab.results(handle.id)
    assert line["apiInfo"]["reason"]["type"] == "terminated"


def lock_of(job_lab: JobLab) -> WorkflowHandle[Any, Any]:
    return job_lab.client.get_workflow_handle(names.job_lock_workflow_id(job_lab.project, "nightly"))


async def until_in_line(job_lab: JobLab, handle: WorkflowHandle[Any, JobRunView]) -> None:
    """Wait until the JobRun waits for others of its Job."""

    async def waits() -> bool:
        events = [event async for event in lock_of(job_lab).fetch_history_events()]
        signals = [event.workflow_execution_signaled_event_attributes for event in events]
        waiting = [each for each in signals if each.signal_name == names.WAIT_FOR_LOCK]
        return any(handle.id.encode() in payload.data for each in waiting for payload in each.input.payloads)

    await until(waits)


@pytest.mark.parametrize("overlap", [JobOverlap.SKIP, JobOverlap.ALLOW])
async def test_a_second_job_run_is_skipped_or_goes_on_beside_the_first(job_lab: JobLab, overlap: JobOverlap) -> None:
    job_lab.on_attempt = until_canceled
    definition = await job_lab.define(items(1), overlap=overlap)
    first = await job_lab.start(definition)
    await until(lambda: job_lab.running == 1)
    second = await job_lab.start(definition)
    if overlap is JobOverlap.SKIP:
        view = await end_of(second)
        assert view.status is JobRunStatus.CANCELED
        assert_has(view.reason, type=JobRunReasonType.ANOTHER_JOB_RUN_ACTIVE, details={"jobRunId": first.id})
    else:
        await until(lambda: job_lab.running == 2)
        await second.signal(names.TERMINATE_JOB_RUN)
    await first.signal(names.TERMINATE_JOB_RUN)
    for handle in (first, second):
        await end_of(handle)


async def test_a_lock_whose_job_run_was_ended_in_temporal_is_no_obstacle(job_lab: JobLab, client: Client) -> None:
    job_lab.on_attempt = until_canceled
    definition = await job_lab.define(items(1))
    first = await job_lab.start(definition)
    await until(lambda: job_lab.running == 1)
    await first.terminate()
    job_lab.on_attempt = echo
    second = await job_lab.start(definition)
    assert (await end_of(second)).status is JobRunStatus.SUCCESS
    await client.get_workflow_handle(names.job_item_run_id(first.id, 0)).cancel()


async def test_the_lock_is_gone_when_the_job_run_has_ended(job_lab: JobLab) -> None:
    definition = await job_lab.define(items(1))
    for _ in range(2):
        assert (await end_of(await job_lab.start(definition))).status is JobRunStatus.SUCCESS

    async def is_gone() -> bool:
        return (await lock_of(job_lab).describe()).status is WorkflowExecutionStatus.COMPLETED

    await until(is_gone)


async def test_waiting_job_runs_begin_in_turn_and_skip_ended_ones(job_lab: JobLab) -> None:
    job_lab.on_attempt = until_canceled
    definition = await job_lab.define(items(1), overlap=JobOverlap.QUEUE)
    first = await job_lab.start(definition)
    await until(lambda: job_lab.running == 1)
    waiting: list[WorkflowHandle[Any, JobRunView]] = []
    for _ in range(4):
        waiting.append(await job_lab.start(definition))
        await until_in_line(job_lab, waiting[-1])
    second, third, fourth, fifth = waiting
    await third.terminate()
    await fourth.signal(names.TERMINATE_JOB_RUN)
    assert (await end_of(fourth)).status is JobRunStatus.TERMINATED
    assert job_lab.running == 1
    job_lab.on_attempt = echo
    await first.signal(names.TERMINATE_JOB_RUN)
    ends = [await end_of(handle) for handle in (first, second, fifth)]
    assert [end.status for end in ends] == [JobRunStatus.TERMINATED, JobRunStatus.SUCCESS, JobRunStatus.SUCCESS]
    assert job_lab.most_running == 1
    began = [attempt.job.job_run_id for attempt in job_lab.attempts if attempt.job is not None]
    assert began == [first.id, second.id, fifth.id]


async def test_a_new_job_run_frees_the_line_behind_a_terminated_one(job_lab: JobLab) -> None:
    job_lab.on_attempt = until_canceled
    definition = await job_lab.define(items(1), overlap=JobOverlap.QUEUE)
    first = await job_lab.start(definition)
    await until(lambda: job_lab.running == 1)
    second = await job_lab.start(definition)
    await until_in_line(job_lab, second)
    await first.terminate()
    job_lab.on_attempt = echo
    third = await job_lab.start(definition)
    for handle in (second, third):
        assert (await end_of(handle)).status is JobRunStatus.SUCCESS
    await job_lab.client.get_workflow_handle(names.job_item_run_id(first.id, 0)).cancel()


async def test_a_job_run_of_a_project_that_is_not_deployed_says_so(job_lab: JobLab) -> None:
    definition = await job_lab.define(items(1))
    await job_lab.store.delete(object_keys.current_version(job_lab.project))
    view = await end_of(await job_lab.start(definition))
    assert (view.status, view.error) == (JobRunStatus.FAILURE, f"Project {job_lab.project} is not deployed.")
