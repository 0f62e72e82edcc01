"""A rule of a project is broken, and holds again: each is told once (docs/contract.md, section 24)."""

from datetime import UTC, datetime, timedelta

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import CancelledError

from callboard.schemas.workflow import names
from callboard.schemas.workflow.alert import AlertRule, EndedRun
from callboard.schemas.workflow.run import RunStatus
from tests.support.alert_stage import FAILURES, RATE, AlertStage, told_of
from tests.support.run_stage import HeldAttempt, RunStage
from tests.support.shapes import Play, played
from tests.support.stage import WORKSPACE
from tests.support.temporal_servers import LONG_HISTORY

NOW = datetime(2026, 12, 1, tzinfo=UTC)


async def test_each_rule_is_told_of_as_it_is_broken_and_as_it_holds_again(skipping: Client, name: str) -> None:
    async with played(AlertStage, "alerts-opened-and-closed", skipping, name) as stage:
        pass
    assert stage.of(FAILURES) == [("opened", ("a", "c")), ("closed", ("a", "c"))]
    assert stage.of(RATE) == [(what, runs) for runs in (("a", "c"), ("c", "e")) for what in ("opened", "closed")]
    by_time = {each.rule: each for each in stage.told if not each.is_open}[FAILURES]
    assert by_time.closed_at is not None
    # It is that of the second failure, not of the first, nor of a later one.
    assert timedelta(hours=1) <= by_time.closed_at - by_time.opened_at + timedelta(minutes=1) < timedelta(minutes=62)


@pytest.mark.parametrize(("failures", "is_broken"), [(2, False), (3, True)])
def test_a_rate_of_success_is_kept_by_as_many_runs_as_it_says(failures: int, is_broken: bool) -> None:
    rule = AlertRule(success_rate=0.9, of=20)
    runs = [EndedRun(id=f"{number}", at=NOW, failed=number < failures) for number in range(20)]
    assert bool(rule.broken_by(runs, [], NOW)) is is_broken
    assert rule.broken_by(runs[:19], [], NOW) == (), "there are not so many yet"


async def test_it_goes_on_with_a_fresh_history_and_ends_with_its_project(temporal: Client, name: str) -> None:
    rules = told_of(FAILURES)
    async with AlertStage(temporal, name) as stage:
        await stage.end("first", failed=True, rules=rules)
        first = (await stage.handle.describe()).run_id
        await stage.serve()
        ended = 0
        while (await stage.handle.describe()).run_id == first:
            assert ended < 2 * LONG_HISTORY
            await stage.end(f"{ended}", failed=False, rules=rules)
            ended += 1
        await stage.end("last", failed=True, rules=rules)
        await stage.have_told(1)
        assert stage.of(FAILURES) == [("opened", ("first", "last"))]
        (shown,) = await stage.alerts.list_all(WORKSPACE, name)
        assert shown == stage.told[0]
        delivery = temporal.get_workflow_handle(f"{names.ALERTS_OWNER}:{shown.id}-opened-1")
        await delivery.result()
        await stage.handle.cancel()
        with pytest.raises(WorkflowFailureError) as end:
            await stage.handle.result()
    assert isinstance(end.value.cause, CancelledError)
    assert await stage.alerts.list_all(WORKSPACE, name) == [], "nothing is open of a project that is gone"


async def test_the_end_of_a_run_is_counted_if_its_project_has_alerts(play: Play[RunStage]) -> None:
    stage = await play("counted-for-alerts")
    (input,) = stage.counted
    assert (input.run.id, input.run.failed, input.project) == (stage.run_id, True, stage.project)


async def test_a_run_that_is_canceled_is_not_counted(stage: RunStage) -> None:
    held = stage.stopping(HeldAttempt(stage, announced=True))
    await stage.serve(held)
    await stage.start(has_alerts=True)
    await held.began.wait()
    await stage.cancel()
    outcome = await stage.ended()
    assert (outcome.status, stage.counted) == (RunStatus.CANCELED, [])
