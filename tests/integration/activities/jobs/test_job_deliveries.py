"""The results of a JobRun's Runs are delivered, and receivers are told of its end."""

from __future__ import annotations

import json
from typing import Any

from callboard.schemas.rest.sink import WebhookSink
from callboard.schemas.workflow import names
from callboard.schemas.workflow.attempt import AttemptInput, AttemptOutcome
from callboard.schemas.workflow.job_run import JobRunStatus
from callboard.security import seal_context
from callboard.security.sealed_sinks import seal_sink, seal_webhook
from callboard.temporal.deliveries import Deliveries
from tests.support.control_worker import Delivering, JobLab, echo, items, until_canceled
from tests.support.delivery_inputs import QUICK, RING
from tests.support.job_run_stage import JOB, end_of
from tests.support.polling import until
from tests.support.run_stage import failed
from tests.support.stage import WORKSPACE
from tests.support.webhook_receiver import Receiver

SECRET_HEADER = {"x-token": "a secret of the receiver"}


def of_job(lab: JobLab) -> str:
    return seal_context.job(WORKSPACE, lab.project, JOB)


async def test_each_result_is_delivered_with_its_job_and_job_run(
    job_lab: JobLab, deliver: Delivering, inbox: Receiver
) -> None:
    sink = WebhookSink(type="webhook", url=inbox.url, headers=SECRET_HEADER)
    sealed = seal_sink(sink, QUICK, RING, of_job(job_lab))
    handle = await job_lab.start(await job_lab.define(items(3), sink=sealed))
    await end_of(handle)
    received = await inbox.until(3)
    bodies = [json.loads(request.body) for request in received]
    assert sorted(body["apiInfo"]["parameters"]["n"] for body in bodies) == [0, 1, 2]
    for request, body in zip(received, bodies, strict=True):
        assert body["projectJob"] == {"id": JOB}
        assert body["projectJobRun"] == {"id": handle.id}
        assert request.headers["x-token"] == SECRET_HEADER["x-token"]
        assert request.headers["webhook-id"] == body["apiInfo"]["runId"]
    for number in range(3):
        await deliver.ended(job_lab.project, names.job_item_run_id(handle.id, number))


async def told(lab: JobLab, inbox: Receiver, **fields: Any) -> tuple[str, dict[str, Any]]:
    """What a receiver is told of the end of a JobRun of two items, and the id of that JobRun."""
    webhook = seal_webhook(inbox.url, SECRET_HEADER, RING, of_job(lab))
    handle = await lab.start(await lab.define(items(2), notifications=(webhook,), **fields))
    view = await end_of(handle)
    (request,) = await inbox.until(1)
    assert request.headers["x-token"] == SECRET_HEADER["x-token"]
    assert request.headers["webhook-id"] == handle.id
    assert request.headers["webhook-signature"].startswith("v1,")
    body = json.loads(request.body)
    assert body["projectJobRun"]["status"] == view.status.value
    delivery = names.delivery_workflow_id(handle.id, "notification-1")
    await lab.client.get_workflow_handle(delivery).result()
    return handle.id, body


async def test_a_receiver_is_told_of_the_end_of_a_job_run(
    job_lab: JobLab, deliver: Delivering, inbox: Receiver
) -> None:
    async def one_fails(attempt: AttemptInput) -> AttemptOutcome:
        return failed(final=True) if attempt.run_id.endswith("-1") else await echo(attempt)

    job_lab.on_attempt = one_fails
    job_run_id, body = await told(job_lab, inbox)
    times = body["projectJobRun"].pop("startTime"), body["projectJobRun"].pop("endTime")
    assert times[0] <= times[1]
    assert body == {
        "event": "job-run-ended",
        "workspaceId": WORKSPACE,
        "project": {"id": job_lab.project, "name": job_lab.project},
        "projectJob": {"id": JOB},
        "projectJobRun": {
            "id": job_run_id,
            "type": "MANUAL",
            "status": JobRunStatus.SUCCESS.value,
            "reason": None,
            "payloads": 2,
            "successfulRuns": 1,
            "failedRuns": 1,
        },
    }
    deliveries = Deliveries(job_lab.client)
    (listed,) = await until(lambda: deliveries.list_for_project(WORKSPACE, job_lab.project))
    assert (listed.run_id, listed.job_id, listed.state.id) == (job_run_id, JOB, "notification-1")
    await deliveries.redeliver(WORKSPACE, job_lab.project, listed.run_id, listed.state.id)
    first, again = await inbox.until(2)
    assert again.body == first.body


async def test_of_a_job_run_that_did_not_succeed_it_is_told_why(
    job_lab: JobLab, deliver: Delivering, inbox: Receiver
) -> None:
    async def terminates(attempt: AttemptInput) -> AttemptOutcome:
        assert attempt.job is not None
        await job_lab.client.get_workflow_handle(attempt.job.job_run_id).signal(names.TERMINATE_JOB_RUN)
        return await until_canceled(attempt)

    job_lab.on_attempt = terminates
    _, body = await told(job_lab, inbox)
    assert body["projectJobRun"]["status"] == "TERMINATED"
    assert body["projectJobRun"]["reason"]["type"] == "terminated"
