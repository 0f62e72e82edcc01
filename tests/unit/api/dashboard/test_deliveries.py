"""The Deliveries of a project, as a call and as a page."""

from __future__ import annotations

from callboard.schemas.workflow import names
from callboard.schemas.workflow.delivery import DeliveryStatus, TryProblem
from callboard.temporal.deliveries import DeliveryState
from tests.support.api_in_process import Api
from tests.support.dashboard_client import Pages


async def test_what_fails_says_why_and_when_it_is_tried_again(api: Api, pages: Pages):
    problem = TryProblem(type="Status", message="<b> answered 503")
    sink = {"type": "webhook", "url": "https://receiver.example.com/"}
    job_run = names.job_run_id("a" * names.JOB_RUN_TOKEN_LENGTH)
    api.deliveries.known["run-1"] = [DeliveryState("sink", sink, DeliveryStatus.PENDING, problem)]
    api.deliveries.known[names.ALERTS_OWNER] = [DeliveryState("al_1-opened-1", sink, DeliveryStatus.DELIVERED)]
    api.deliveries.known[job_run] = [DeliveryState("notification-1", sink, DeliveryStatus.DELIVERED)]
    told, of_alert, of_job_run = (await api.ask("deliveries"))["deliveries"]
    assert (of_alert["runId"], of_alert["jobId"]) == (None, None)
    assert (of_job_run["runId"], of_job_run["jobId"]) == (job_run, "nightly")
    assert (told["runId"], told["status"], told["error"]["type"], told["tryCount"]) == ("run-1", "pending", "Status", 2)
    text = (await pages.get("/projects/shop/deliveries")).text
    assert "&lt;b&gt; answered 503" in text
    assert "failing</span>" in text
    assert f'href="/projects/shop/jobs/nightly/runs/{job_run}"' in text
    for place in ("run-1/deliveries/sink", "alerts/deliveries/al_1-opened-1", f"{job_run}/deliveries/notification-1"):
        assert f'action="/projects/shop/runs/{place}/redeliver"' in text
