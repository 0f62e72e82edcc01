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
    api.deliveries.known["run-1"] = [DeliveryState("sink", sink, DeliveryStatus.PENDING, problem)]
    api.deliveries.known[names.ALERTS_OWNER] = [DeliveryState("al_1-opened-1", sink, DeliveryStatus.DELIVERED)]
    told, of_alert = (await api.ask("deliveries"))["deliveries"]
    assert of_alert["runId"] is None
    assert (told["runId"], told["status"], told["error"]["type"], told["tryCount"]) == ("run-1", "pending", "Status", 2)
    text = (await pages.get("/projects/shop/deliveries")).text
    assert "&lt;b&gt; answered 503" in text
    assert "failing</span>" in text
    assert 'action="/projects/shop/runs/run-1/deliveries/sink/redeliver"' in text
    assert text.count("/redeliver") == 1, "one that tells of an alert belongs to no Run"
