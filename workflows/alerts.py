"""The workflow `Alerts`: the ends of a project's Runs meet the rules of its settings.

It decides when a rule is broken and when it holds again, and so each is told once. See docs/contract.md, section 24.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from datetime import datetime

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from callboard.schemas.workflow import names
    from callboard.schemas.workflow.alert import (
        MOST_COUNTED,
        MOST_SHOWN,
        Alert,
        AlertsInput,
        CountedRun,
        EndedRun,
        ToldRule,
    )
    from workflows.children import start_alert_deliveries
    from workflows.visibility import alerts_memo, project_search_attributes


@workflow.defn(name=names.ALERTS)
class AlertsWorkflow:
    """The alerts of one project. The first Run that ends starts it; it ends with the last rule, or with the project."""

    @workflow.init
    def __init__(self, input: AlertsInput) -> None:
        self._input = input
        self._news = deque[CountedRun]()
        """Runs that have ended and are not counted yet."""
        self._rules = input.rules
        self._last = input.last
        self._failed = input.failed
        self._alerts = input.alerts
        """Those that are open, and the last others, in the order in which they were opened."""

    @workflow.run
    async def run(self, _input: AlertsInput) -> None:
        """Count Runs, one after the other, and tell what becomes of each rule, until there is no rule."""
        while True:
            with suppress(TimeoutError):
                until = self._next_close()
                await workflow.wait_condition(
                    lambda: bool(self._news),
                    timeout=None if until is None else until - workflow.now(),
                    timeout_summary="Wait until failures are old",
                )
            if self._news:
                await self._count(self._news.popleft())
            for told in self._rules:
                await self._check(told)
            if self._news:
                continue
            if not self._rules:
                return
            if workflow.info().is_continue_as_new_suggested():
                self._continue()

    @workflow.signal(name=names.COUNT)
    def count(self, counted: CountedRun) -> None:
        """Take a Run that has ended."""
        self._news.append(counted)

    async def _count(self, counted: CountedRun) -> None:
        """Count a Run, once. The rules that come with it count from now on; an alert of one that is gone is closed."""
        for told in self._rules:
            alert = self._open_alert(told)
            if alert is not None and all(each.rule != told.rule for each in counted.rules):
                await self._close(alert, told)
        self._rules = counted.rules
        self._last = _with(self._last, counted.run)
        if counted.run.failed:
            self._failed = _with(self._failed, counted.run)

    async def _check(self, told: ToldRule) -> None:
        """Open or close the alert of a rule, if that is due."""
        broken_by = told.rule.broken_by(self._last, self._failed, workflow.now())
        alert = self._open_alert(told)
        if broken_by and alert is None:
            opened = Alert(
                id=names.alert_id(workflow.uuid4().hex), rule=told.rule, runs=broken_by, opened_at=workflow.now()
            )
            self._alerts = (*self._alerts, opened)
            await self._tell(opened, told)
        elif alert is not None and not broken_by:
            await self._close(alert, told)

    async def _close(self, alert: Alert, told: ToldRule) -> None:
        closed = alert.model_copy(update={"closed_at": workflow.now()})
        alerts = [closed if each.id == alert.id else each for each in self._alerts]
        shown = {each.id for each in [each for each in alerts if not each.is_open][-MOST_SHOWN:]}
        self._alerts = tuple(each for each in alerts if each.is_open or each.id in shown)
        await self._tell(closed, told)

    async def _tell(self, alert: Alert, told: ToldRule) -> None:
        workflow.upsert_memo(alerts_memo(self._input.workspace, self._alerts))
        await start_alert_deliveries(self._input.workspace, self._input.project, alert, told.sinks)

    def _open_alert(self, told: ToldRule) -> Alert | None:
        return next((each for each in self._alerts if each.is_open and each.rule == told.rule), None)

    def _next_close(self) -> datetime | None:
        """Return when the first alert closes by itself; None if none does."""
        ends = [told.rule.holds_again_at(self._failed) for told in self._rules if self._open_alert(told) is not None]
        return min((end for end in ends if end is not None), default=None)

    def _continue(self) -> None:
        state = {"rules": self._rules, "last": self._last, "failed": self._failed, "alerts": self._alerts}
        workflow.continue_as_new(
            self._input.model_copy(update=state),
            search_attributes=project_search_attributes(self._input.project),
            memo=alerts_memo(self._input.workspace, self._alerts),
        )


def _with(runs: tuple[EndedRun, ...], run: EndedRun) -> tuple[EndedRun, ...]:
    """Return the last ones of these Runs and one more, by time. One that is there already is not counted again."""
    if any(each.id == run.id for each in runs):
        return runs
    return tuple(sorted((*runs, run), key=lambda each: (each.at, each.id))[-MOST_COUNTED:])
