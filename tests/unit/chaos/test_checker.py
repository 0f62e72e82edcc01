"""Each invariant of the checker finds what breaks it, in a record that is otherwise true."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.chaos.checker import INVARIANTS, SETTLES_WITHIN, check
from tests.chaos.record import Answer, Attempt, Delivered, Deploy, Execution, Growth, JobRun, Left, Record, Run
from tests.chaos.report import write_report

BROKEN: list[tuple[str, Callable[[Record], None]]] = []
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


def breaks(invariant: str) -> Callable[[Callable[[Record], None]], Callable[[Record], None]]:
    """This breaks the invariant, and perhaps others."""

    def register(break_it: Callable[[Record], None]) -> Callable[[Record], None]:
        BROKEN.append((invariant, break_it))
        return break_it

    return register


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


@breaks("every_run_ended_once")
def a_client_was_told_nothing(record: Record) -> None:
    named(record, "done").told = None


@breaks("every_run_ended_once")
def it_still_waits(record: Record) -> None:
    told(record, "done", status="pending")


@breaks("every_run_ended_once")
def it_ended_in_another_way_afterwards(record: Record) -> None:
    named(record, "done").read = failed("script-process-crashed")


@breaks("every_run_ended_once")
def its_result_became_another(record: Record) -> None:
    named(record, "done").read = completed("done-1")


@breaks("every_run_ended_once")
def it_is_not_listed(record: Record) -> None:
    record.listed.remove("done")


@breaks("every_run_ended_once")
def it_is_listed_twice(record: Record) -> None:
    record.listed.append("done")


@breaks("every_run_ended_once")
def one_start_made_two_runs(record: Record) -> None:
    record.listed.append("another")


@breaks("every_run_ended_once")
def two_starts_made_one_run(record: Record) -> None:
    record.runs.append(named(record, "done"))


@breaks("every_run_ended_once")
def a_client_was_refused(record: Record) -> None:
    record.refused.append("GET done was answered 404.")


@breaks("every_run_ended_truly")
def its_result_is_of_an_execution_before(record: Record) -> None:
    told(record, "done", result={"n": 1, "token": "done-1"})


@breaks("every_run_ended_truly")
def its_result_is_that_of_another_run(record: Record) -> None:
    told(record, "done", result={"n": 2, "token": "done-2"})


@breaks("every_run_ended_truly")
def it_completed_and_was_never_executed(record: Record) -> None:
    record.executions = [each for each in record.executions if each.run_id != "done"]


@breaks("every_run_ended_truly")
def it_completed_and_its_code_did_not(record: Record) -> None:
    recorded(record, "done-2").how = "raised"


@breaks("every_run_ended_truly")
def its_login_was_made_by_nobody(record: Record) -> None:
    recorded(record, "login-1").how = "raised"


@breaks("every_run_ended_truly")
def it_failed_by_an_exception_of_nobody(record: Record) -> None:
    recorded(record, "bad-2").how = "returned"


@breaks("every_run_ended_truly")
def it_failed_before_its_last_attempt(record: Record) -> None:
    named(record, "bad").maximum_attempts = 3


@breaks("every_run_ended_truly")
def it_failed_although_an_attempt_has_completed(record: Record) -> None:
    named(record, "bad").attempts[1].status = "completed"


@breaks("every_run_ended_truly")
def it_failed_by_a_time_out_of_quick_code(record: Record) -> None:
    named(record, "hung").api = "quick"


@breaks("every_run_ended_truly")
def it_failed_with_a_defect(record: Record) -> None:
    told(record, "bad", error="internal-server-error")


@breaks("every_run_ended_truly")
def its_last_error_is_unheard_of(record: Record) -> None:
    told(record, "bad", last_error="result-too-big-error")


@breaks("every_run_ended_truly")
def it_was_canceled_by_nobody(record: Record) -> None:
    named(record, "gone").cancel_asked = False


@breaks("every_run_ended_truly")
def it_was_terminated(record: Record) -> None:
    told(record, "gone", reason="terminated")


@breaks("every_run_ended_truly")
def it_was_canceled_for_a_login_that_it_does_not_use(record: Record) -> None:
    named(record, "locked").project = "market"


@breaks("every_run_ended_truly")
def its_attempts_had_the_code_of_two_deploys(record: Record) -> None:
    recorded(record, "done-1").deploy = 3


JOB_RUNS = "every_job_run_ended_with_a_run_of_each_item"


@breaks(JOB_RUNS)
def an_item_has_no_result(record: Record) -> None:
    record.job_runs[0].results.pop()
    record.job_runs[0].succeeded -= 1


@breaks(JOB_RUNS)
def an_item_has_two_results(record: Record) -> None:
    record.job_runs[0].results.append((0, "twin"))
    record.job_runs[0].succeeded += 1


@breaks(JOB_RUNS)
def a_job_run_counts_wrongly(record: Record) -> None:
    record.job_runs[0].succeeded = 2


@breaks(JOB_RUNS)
def a_job_run_does_not_end(record: Record) -> None:
    record.job_runs[0].status = "PENDING"


@breaks(JOB_RUNS)
def a_job_run_that_did_not_begin_has_results(record: Record) -> None:
    record.job_runs[1].results.append((0, "once"))


@breaks(JOB_RUNS)
def runs_of_a_job_run_had_the_code_of_two_deploys(record: Record) -> None:
    recorded(record, "bad-2").deploy = 3
    recorded(record, "bad-1").deploy = 3


@breaks("no_automation_ran_too_often")
def it_was_executed_without_an_attempt(record: Record) -> None:
    record.executions.append(execution("twin-2", "twin", 80, 81))


@breaks("no_automation_ran_too_often")
def it_had_an_attempt_too_many(record: Record) -> None:
    named(record, "bad").attempts.append(Attempt(number=3, status="failed"))


@breaks("no_automation_ran_too_often")
def it_was_executed_twice_and_may_be_once(record: Record) -> None:
    named(record, "once").attempts.append(Attempt(number=2, status="interrupted"))
    record.executions.append(execution("once-2", "once", 80, 81, how=None))


@breaks("no_automation_ran_too_often")
def it_was_made_again_and_again(record: Record) -> None:
    named(record, "done").attempts[:0] = [Attempt(number=9, status="interrupted")] * 4


@breaks("no_automation_ran_too_often")
def somebody_unknown_was_executed(record: Record) -> None:
    record.executions.append(execution("unknown", "unknown", 80, 81))


@breaks("no_automation_ran_too_often")
def a_login_was_made_too_often(record: Record) -> None:
    made = [execution(f"login-{n}", "created", n, n, kind="create", project="members") for n in range(2, 5)]
    record.executions.extend(made)


@breaks("no_automation_ran_too_often")
def a_login_was_checked_too_often(record: Record) -> None:
    checked = [execution(f"check-{n}", "member-v1", n, n, kind="check", project="members") for n in range(2, 11)]
    record.executions.extend(checked)


@breaks("never_two_copies")
def the_first_copy_goes_on_beside_the_second(record: Record) -> None:
    recorded(record, "done-1").ended = 50.5


@breaks("never_more_attempts_than_machines")
def three_ran_on_two_machines(record: Record) -> None:
    record.executions.append(execution("check-2", "other-v1", 16, 17, kind="check"))


@breaks("never_more_attempts_than_machines")
def two_ran_long_after_a_deploy_with_one_machine(record: Record) -> None:
    recorded(record, "gone-1").ended = SETTLED + 20
    recorded(record, "hung-1").began = SETTLED + 10
    recorded(record, "hung-1").ended = SETTLED + 11
    for run in record.runs:
        run.told_at = SETTLED + 30


@breaks("never_more_attempts_than_machines")
def two_ran_before_a_deploy_allowed_it(record: Record) -> None:
    record.deploys[0].machines = 1


@breaks("canceled_means_gone")
def it_read_canceled_while_it_ran(record: Record) -> None:
    named(record, "gone").told_at = 150


@breaks("every_delivery_arrived")
def a_webhook_was_not_sent(record: Record) -> None:
    record.delivered = [each for each in record.delivered if each.id != "bad"]


@breaks("every_delivery_arrived")
def an_object_is_not_in_the_bucket(record: Record) -> None:
    record.delivered = [each for each in record.delivered if each.sink != "bucket"]


@breaks("every_delivery_arrived")
def it_arrived_in_the_wrong_sink(record: Record) -> None:
    record.delivered[2].sink = "webhook"


@breaks("every_delivery_arrived")
def a_delivery_was_given_up(record: Record) -> None:
    named(record, "bad").deliveries = ["failed"]


@breaks("every_delivery_arrived")
def a_canceled_run_was_delivered(record: Record) -> None:
    record.delivered.append(delivered("gone", "slow", status="canceled"))


@breaks("every_delivery_arrived")
def a_run_without_a_sink_was_delivered(record: Record) -> None:
    record.delivered.append(delivered("hung", "hanging", status="failed", error="api-attempts-failed"))


@breaks("every_delivery_arrived")
def the_second_request_was_another(record: Record) -> None:
    record.delivered[1].body += " "


@breaks("every_delivery_arrived")
def it_was_not_signed(record: Record) -> None:
    record.delivered[1].signed = False


@breaks("every_delivery_arrived")
def the_result_that_arrived_is_not_the_one_that_was_told(record: Record) -> None:
    for each in record.delivered[:2]:
        each.body = each.body.replace("done-2", "done-1")


@breaks("every_delivery_arrived")
def a_failure_arrived_as_a_success(record: Record) -> None:
    record.delivered[3] = delivered("bad", "failing", status="completed", result=None)


@breaks("every_delivery_arrived")
def the_body_is_no_delivery(record: Record) -> None:
    record.delivered[3].body = "[]"


@breaks("nothing_is_left")
def a_browser_is_left(record: Record) -> None:
    record.left.processes.append("123 chromium")


@breaks("nothing_is_left")
def a_folder_of_a_worker_is_left(record: Record) -> None:
    record.left.folders.append("worker-1/workers/dead")


@breaks("nothing_is_left")
def a_lease_is_left(record: Record) -> None:
    record.left.leases.append("dead")


@breaks("nothing_is_left")
def user_code_goes_on(record: Record) -> None:
    record.left.executions.append("token")


@breaks("memory_is_flat")
def a_process_grows(record: Record) -> None:
    record.growth.append(Growth(part="control", began=100, ended=180, minutes=5))


@pytest.fixture
def record() -> Record:
    record = true_record()
    for run in record.runs:
        if run.sink is not None and run.told is not None and run.told.status != "canceled":
            run.deliveries = ["delivered"]
    return record


def test_a_true_record_has_no_violation(record: Record) -> None:
    assert [found for found in check(record).values() if found] == []


@pytest.mark.parametrize(("invariant", "break_it"), BROKEN, ids=[break_it.__name__ for _, break_it in BROKEN])
def test_a_violation_is_found_and_told(record: Record, invariant: str, break_it: Callable[[Record], None]) -> None:
    break_it(record)
    violations = check(record)
    assert violations[invariant] != []
    assert violations[invariant][0] in write_report(record, violations)


def test_a_deploy_that_was_not_seen_to_finish_may_have_changed_the_number_or_not(record: Record) -> None:
    two_ran_long_after_a_deploy_with_one_machine(record)
    record.deploys[-1].finished = None
    assert check(record)["never_more_attempts_than_machines"] == []


def test_each_invariant_is_broken_by_some_test() -> None:
    assert {name for name, _ in BROKEN} == {invariant.__name__ for invariant in INVARIANTS}
