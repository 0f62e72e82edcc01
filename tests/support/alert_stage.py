"""A stage for alerts: the real workflow, with Deliveries that arrive at once; and the shape that it can take."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.empty_pb2 import Empty
from temporalio import activity
from temporalio.client import Client, WorkflowHandle

from callboard.schemas.workflow import names
from callboard.schemas.workflow.alert import Alert, AlertRule, CountedRun, EndedRun, ToldRule
from callboard.schemas.workflow.delivery import SendInput
from callboard.temporal.alerts import Alerts
from tests.support.delivery_inputs import sealed, webhook
from tests.support.polling import until
from tests.support.stage import DEADLINE, WORKSPACE, Server, Stage, shape
from workflows.alerts import AlertsWorkflow
from workflows.deliver import DeliverWorkflow

FAILURES = AlertRule(failures=2, within=timedelta(hours=1))
RATE = AlertRule(success_rate=0.5, of=3)


def told_of(*rules: AlertRule) -> tuple[ToldRule, ...]:
    """These rules, with somebody who is told of them."""
    sink = sealed(webhook("https://hook.example"), "shop", names.ALERTS_OWNER)
    return tuple(ToldRule(rule=rule, sinks=(sink,)) for rule in rules)


class AlertStage(Stage):
    """The alerts of one project, and who was told of them."""

    def __init__(self, client: Client, name: str) -> None:
        super().__init__(client, name, queue=names.CALLBOARD_QUEUE)
        self.alerts = Alerts(client)
        self.project = name
        self.skips = False
        """Whether the server has a clock of its own."""
        self.told: list[Alert] = []

    @property
    def handle(self) -> WorkflowHandle[Any, None]:
        return self.client.get_workflow_handle(names.alerts_workflow_id(self.project))

    async def end(self, run_id: str, *, failed: bool, rules: tuple[ToldRule, ...] = ()) -> None:
        """A Run ends now, by the server's clock."""
        run = EndedRun(id=run_id, at=await self._now(), failed=failed)
        await self.alerts.count(WORKSPACE, self.project, CountedRun(run=run, rules=rules))

    async def have_told(self, number: int) -> None:
        """Wait until so many Deliveries were sent."""
        await until(lambda: len(self.told) >= number, DEADLINE)

    def of(self, rule: AlertRule) -> list[tuple[str, tuple[str, ...]]]:
        """What was told of a rule: whether its alert was opened or closed, and by which Runs."""
        told = [each for each in self.told if each.rule == rule]
        return [("opened" if each.is_open else "closed", each.runs) for each in told]

    async def serve(self) -> None:
        await self.work(self.queue, workflows=[AlertsWorkflow])
        await self.work(names.DELIVERIES_QUEUE, [self._send], workflows=[DeliverWorkflow])

    @activity.defn(name=names.SEND_DELIVERY)
    async def _send(self, input: SendInput) -> None:
        assert input.delivery.alert is not None
        self.told.append(input.delivery.alert)

    async def _now(self) -> datetime:
        if not self.skips:
            return datetime.now(UTC)
        return (await self.client.test_service.get_current_time(Empty())).time.ToDatetime(UTC)


@shape(AlertStage, server=Server.SKIPPING)
async def alerts_opened_and_closed(stage: AlertStage) -> None:
    """Two rules are broken, and hold again: by Runs, as time has passed, and as there is no rule any more."""
    rules = told_of(FAILURES, RATE)
    stage.skips = True
    await stage.serve()
    await stage.end("a", failed=True, rules=rules)
    await stage.end("b", failed=False, rules=rules)
    await stage.end("a", failed=True, rules=rules)  # once more
    await stage.end("c", failed=True, rules=rules)
    await stage.have_told(2)
    await stage.end("d", failed=False, rules=rules)
    await stage.have_told(3)
    await stage.end("e", failed=True, rules=rules)
    await stage.have_told(4)
    await stage.pass_time(minutes=61)
    await stage.have_told(5)
    await stage.end("f", failed=True)
    await stage.have_told(6)
    await stage.handle.result()
