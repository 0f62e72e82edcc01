"""Each invariant of the checker finds what breaks it, in a record that is otherwise true."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.chaos.checker import INVARIANTS, SETTLES_WITHIN, check
from tests.chaos.record import Answer, Attempt, Delivered, Deploy, Execution, Growth, JobRun, Left, Record, Run
from tests.chaos.report import write_report

SETTLED = 100 + SETTLES_WITHIN.total_seconds()
"""When the market has had fewer Machines for long enough."""


def execution(token: str, run_id: str, began: float, ended: float, **fields: Any) -> Execution:
    given: dict[str, Any] = {"project": "market", "deploy": 1, "kind": "api", "how": "returned"}
    return Execution(token=token, run_id=run_id, began=began, ended=ended, **(given | fields))


def run(run_id: str, answer: Answer, *attempts: str, **fields: Any) -> Run:
    given: dict[str, Any] = {"n": 1, "project": "market", "api": "quick", "maximum_attempts": 3}
    return Run(
        run_id=run_id,
        told=answer,
        told_at=300,
        read=answer.model_copy(),
        attempts=[Attempt(number=number, status=status) for number, status in enumerate(attempts, start=1)],
        **(given | fields),
    )


def delivered(run_id: str, api: str, sink: Any = "webhook", **result: Any) -> Delivered:
    body = {"apiInfo": {"runId": run_id, "name": api, "result": result}}
    return Delivered(id=run_id, sink=sink, body=json.dumps(body))


def completed(token: str, **fields: Any) -> Answer:
    return Answer(status="completed", result={"n": 1, "token": token, **fields})


def failed(last_error: str) -> Answer:
    return Answer(status="failed", error="api-attempts-failed", last_error=last_error)


def true_record() -> Record:
    """Two Machines until 100 and one afterwards: what ran then has ended, and settling has taken its time."""
    runs = [
        run("done", completed("done-2"), "interrupted", "completed", sink="webhook"),
        run("twin", completed("twin-1"), "completed", sink="bucket"),
        run("bad", failed("script-execution-exception"), "failed", "failed", api="failing", maximum_attempts=2,
            sink="webhook"),
        run("gone", Answer(status="canceled", reason="cancelled-user-action"), "canceled", api="slow",
            cancel_asked=True, sink="webhook"),
        run("once", failed("script-process-crashed"), "interrupted", api="slow", maximum_attempts=1),
        run("hung", failed("script-timeout"), "failed", api="hanging", maximum_attempts=1),
        run("member", completed("member-1", login="login-1"), "completed", project="members", api="account"),
        run("locked", Answer(status="canceled", reason="auth-session-validate-dependency-failed"), project="members",
            api="account"),
    ]  # fmt: skip
    return Record(
        seed=1,
        minutes=5,
        runs=runs,
        job_runs=[
            JobRun(
                job_run_id="batch", items=2, status="SUCCESS", succeeded=1, failed=1, results=[(1, "bad"), (0, "done")]
            ),
            JobRun(
                job_run_id="other",
                items=2,
                status="CANCELED",
                reason="another-job-run-active",
                succeeded=0,
                failed=0,
                results=[],
            ),
        ],
        listed=[run.run_id for run in runs],
        executions=[
            execution("done-1", "done", 10, 20, how=None),
            execution("done-2", "done", 50, 51),
            execution("twin-1", "twin", 15, 70),
            execution("bad-1", "bad", 71, 72, how="raised"),
            execution("bad-2", "bad", 73, 74, how="raised"),
            execution("gone-1", "gone", 99, 200, how=None),
            execution("once-1", "once", 75, 76, how=None),
            execution("hung-1", "hung", 201, 204, how=None),
            execution("member-1", "member", 30, 31, project="members"),
            execution("check-1", "member-v1", 28, 29, project="members", kind="check"),
            execution("login-1", "created", 20, 21, project="members", kind="create"),
        ],
        deploys=[
            Deploy(project="market", number=1, machines=2, began=0, finished=1),
            Deploy(project="members", number=2, machines=1, began=0, finished=1),
            Deploy(project="market", number=3, machines=1, began=99, finished=100),
        ],
        delivered=[
            delivered("done", "quick", status="completed", result={"n": 1, "token": "done-2"}),
            delivered("done", "quick", status="completed", result={"n": 1, "token": "done-2"}),
            delivered("twin", "quick", "bucket", status="completed", result={"n": 1, "token": "twin-1"}),
            delivered("bad", "failing", status="failed", error="api-attempts-failed"),
        ],
        left=Left(),
        growth=[Growth(part="api-1", began=100, ended=110, minutes=5)],
    )


def named(record: Record, run_id: str) -> Run:
    return next(run for run in record.runs if run.run_id == run_id)


def told(record: Record, run_id: str, **fields: Any) -> None:
    """All clients are told this of the Run."""
    run = named(record, run_id)
    assert run.told is not None
    run.told = run.told.model_copy(update=fields)
    run.read = run.told


def recorded(record: Record, token: str) -> Execution:
    return next(each for each in record.executions if each.token == token)


def without(record: Record, kind: str, **fields: Any) -> None:
    """Take away what has one of these fields."""
    kept = [each for each in getattr(record, kind) if all(getattr(each, name) != fields[name] for name in fields)]
    setattr(record, kind, kept)


def alter(thing: Any, **fields: Any) -> None:
    """Change something that was seen."""
    for name, value in fields.items():
        setattr(thing, name, value)


def logins(record: Record, run_id: str, kind: str, count: int) -> None:
    """So many more executions of user code for a login."""
    record.executions += [
        execution(f"{kind}-{n}", run_id, n, n, kind=kind, project="members") for n in range(2, 2 + count)
    ]


def two_ran_long_after_a_deploy_with_one_machine(record: Record) -> None:
    recorded(record, "gone-1").ended = SETTLED + 20
    alter(recorded(record, "hung-1"), began=SETTLED + 10, ended=SETTLED + 11)
    for run in record.runs:
        run.told_at = SETTLED + 30


def executed_twice_although_it_may_be_once(record: Record) -> None:
    named(record, "once").attempts.append(Attempt(number=2, status="interrupted"))
    record.executions.append(execution("once-2", "once", 80, 81, how=None))


def an_item_has_a_run_more(record: Record, *more: tuple[int, str]) -> None:
    job_run = record.job_runs[0]
    alter(job_run, results=[*job_run.results, *more], succeeded=1 + len(more))


def the_result_is_of_the_attempt_before(record: Record) -> None:
    for each in record.delivered[:2]:
        each.body = each.body.replace("done-2", "done-1")


def runs_of_two_deploys(record: Record) -> None:
    for token in ("bad-1", "bad-2"):
        recorded(record, token).deploy = 3


Break = Callable[[Record], Any]
BROKEN: dict[str, dict[str, Break]] = {
    "every_run_ended_once": {
        "a client was told nothing": lambda record: alter(named(record, "done"), told=None),
        "it still waits": lambda record: told(record, "done", status="pending"),
        "it ended in another way afterwards": lambda record: alter(
            named(record, "done"), read=failed("script-process-crashed")
        ),
        "its result became another": lambda record: alter(named(record, "done"), read=completed("done-1")),
        "it is not listed": lambda record: record.listed.remove("done"),
        "it is listed twice": lambda record: record.listed.append("done"),
        "one start made two Runs": lambda record: record.listed.append("another"),
        "two starts made one Run": lambda record: record.runs.append(named(record, "done")),
        "a client was refused": lambda record: record.refused.append("GET done was answered 404."),
    },
    "every_run_ended_truly": {
        "its result is of an execution before": lambda record: told(record, "done", result={"n": 1, "token": "done-1"}),
        "its result is that of another Run": lambda record: told(record, "done", result={"n": 2, "token": "done-2"}),
        "it completed and was never executed": lambda record: without(record, "executions", run_id="done"),
        "it completed and its code did not": lambda record: alter(recorded(record, "done-2"), how="raised"),
        "its login was made by nobody": lambda record: alter(recorded(record, "login-1"), how="raised"),
        "it failed by an exception of nobody": lambda record: alter(recorded(record, "bad-2"), how="returned"),
        "it failed before its last Attempt": lambda record: alter(named(record, "bad"), maximum_attempts=3),
        "it failed although an Attempt has completed": lambda record: alter(
            named(record, "bad").attempts[1], status="completed"
        ),
        "it failed by a time-out of quick code": lambda record: alter(named(record, "hung"), api="quick"),
        "it failed with a defect": lambda record: told(record, "bad", error="internal-server-error"),
        "its last error is unheard of": lambda record: told(record, "bad", last_error="result-too-big-error"),
        "it was canceled by nobody": lambda record: alter(named(record, "gone"), cancel_asked=False),
        "it was terminated": lambda record: told(record, "gone", reason="terminated"),
        "it was canceled for a login that it does not use": lambda record: alter(
            named(record, "locked"), project="market"
        ),
        "its Attempts had the code of two deploys": lambda record: alter(recorded(record, "done-1"), deploy=3),
    },
    "every_job_run_ended_with_a_run_of_each_item": {
        "an item has no result": lambda record: alter(record.job_runs[0], results=[(1, "bad")], succeeded=0),
        "an item has two results": lambda record: an_item_has_a_run_more(record, (0, "twin")),
        "it counts wrongly": lambda record: alter(record.job_runs[0], succeeded=2),
        "it does not end": lambda record: alter(record.job_runs[0], status="PENDING"),
        "it did not begin and has results": lambda record: record.job_runs[1].results.append((0, "once")),
        "its Runs had the code of two deploys": runs_of_two_deploys,
    },
    "no_automation_ran_too_often": {
        "it was executed without an Attempt": lambda record: record.executions.append(
            execution("twin-2", "twin", 80, 81)
        ),
        "it had an Attempt too many": lambda record: named(record, "bad").attempts.append(
            Attempt(number=3, status="failed")
        ),
        "it was executed twice and may be once": executed_twice_although_it_may_be_once,
        "it was made again and again": lambda record: named(record, "done").attempts.extend(
            [Attempt(number=9, status="interrupted")] * 4
        ),
        "somebody unknown was executed": lambda record: record.executions.append(
            execution("unknown", "unknown", 80, 81)
        ),
        "a login was made too often": lambda record: logins(record, "created", "create", 3),
        "a login was checked too often": lambda record: logins(record, "member-v1", "check", 9),
    },
    "never_two_copies": {
        "the first copy goes on beside the second": lambda record: alter(recorded(record, "done-1"), ended=50.5)
    },
    "never_more_attempts_than_machines": {
        "three ran on two Machines": lambda record: record.executions.append(
            execution("check-2", "other-v1", 16, 17, kind="check")
        ),
        "two ran long after a deploy with one Machine": two_ran_long_after_a_deploy_with_one_machine,
        "two ran before a deploy allowed it": lambda record: alter(record.deploys[0], machines=1),
    },
    "canceled_means_gone": {
        "it read canceled while it ran": lambda record: alter(named(record, "gone"), told_at=150),
    },
    "every_delivery_arrived": {
        "a webhook was not sent": lambda record: without(record, "delivered", id="bad"),
        "an object is not in the bucket": lambda record: without(record, "delivered", sink="bucket"),
        "it arrived in the wrong sink": lambda record: alter(record.delivered[2], sink="webhook"),
        "a Delivery was given up": lambda record: alter(named(record, "bad"), deliveries=["failed"]),
        "a canceled Run was delivered": lambda record: record.delivered.append(
            delivered("gone", "slow", status="canceled")
        ),
        "a Run without a sink was delivered": lambda record: record.delivered.append(
            delivered("hung", "hanging", status="failed", error="api-attempts-failed")
        ),
        "the second request was another": lambda record: alter(record.delivered[1], body="{} "),
        "it was not signed": lambda record: alter(record.delivered[1], signed=False),
        "what arrived is not what was told": the_result_is_of_the_attempt_before,
        "a failure arrived as a success": lambda record: alter(
            record.delivered[3], body=delivered("bad", "failing", status="completed", result=None).body
        ),
        "the body is no Delivery": lambda record: alter(record.delivered[3], body="[]"),
    },
    "nothing_is_left": {
        kind: lambda record, kind=kind: getattr(record.left, kind).append("something")
        for kind in ("processes", "folders", "leases", "executions")
    },
    "memory_is_flat": {
        "a process grows": lambda record: record.growth.append(Growth(part="control", began=100, ended=180, minutes=5)),
    },
}
"""What breaks each invariant, and perhaps others."""


@pytest.fixture
def record() -> Record:
    record = true_record()
    for run in record.runs:
        if run.sink is not None and run.told is not None and run.told.status != "canceled":
            run.deliveries = ["delivered"]
    return record


def test_a_true_record_has_no_violation(record: Record) -> None:
    assert [found for found in check(record).values() if found] == []


@pytest.mark.parametrize(("invariant", "how"), [(invariant, how) for invariant in BROKEN for how in BROKEN[invariant]])
def test_a_violation_is_found_and_told(record: Record, invariant: str, how: str) -> None:
    BROKEN[invariant][how](record)
    violations = check(record)
    assert violations[invariant] != []
    assert violations[invariant][0] in write_report(record, violations)


def test_a_deploy_that_was_not_seen_to_finish_may_count_or_not(record: Record) -> None:
    two_ran_long_after_a_deploy_with_one_machine(record)
    record.deploys[-1].finished = None
    assert check(record)["never_more_attempts_than_machines"] == []


def test_an_attempt_counts_whose_worker_says_that_the_store_took_no_record(record: Record) -> None:
    record.executions.append(execution("twin-2", "twin", 80, 81))
    record.unrecorded.append(("twin", 1))
    assert check(record)["no_automation_ran_too_often"] != [], "this Attempt has a record after all"
    record.unrecorded.append(("twin", 2))
    assert check(record)["no_automation_ran_too_often"] == []


def test_each_invariant_is_broken_by_some_test() -> None:
    assert set(BROKEN) == {invariant.__name__ for invariant in INVARIANTS}
