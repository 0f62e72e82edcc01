"""Lists of Runs on a real Temporal: their order, filters, and pages while Runs start and end."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes

from callboard.schemas.errors import NotFound
from callboard.schemas.workflow import names
from callboard.schemas.workflow.attempt import AttemptInput, AttemptOutcome
from callboard.schemas.workflow.auth import AuthSessionRef, AuthSessionType, RunAuth
from callboard.schemas.workflow.run import ErrorCode, RunCause, RunJob, RunStatus, RunType
from callboard.temporal import run_queries
from callboard.temporal.listing import RunFilter, RunListItem, abnormal_statuses
from callboard.temporal.run_queries import RunQueries
from callboard.temporal.runs import Runs
from tests.support.constants import SOMEBODY
from tests.support.polling import until
from tests.support.run_stage import HeldAttempt, RunStage, completed, ends, failed, run_input
from tests.support.stage import WORKSPACE
from workflows import visibility

ELSEWHERE = "11111111-1111-1111-1111-111111111111"
NOBODY = RunFilter()


@pytest.fixture
def records(client: Client) -> RunQueries:
    return RunQueries(client)


async def start(runs: Runs, stage: RunStage, run_id: str | None = None, **fields: Any) -> str:
    run_id = run_id or secrets.token_hex(8)
    await runs.start(run_id, run_input(stage.project, **fields), fingerprint="")
    return run_id


async def listed(
    records: RunQueries, stage: RunStage, wanted: RunFilter = NOBODY, *, limit: int = 100, workspace: str = WORKSPACE
) -> list[RunListItem]:
    """All pages, one after the other."""
    after, lines = None, list[RunListItem]()
    while True:
        page = await records.list_runs(workspace, stage.project, wanted, limit=limit, page_token=after)
        lines += page.runs
        if (after := page.next_page_token) is None:
            return lines


async def until_listed(
    records: RunQueries, stage: RunStage, ids: Sequence[str], wanted: RunFilter = NOBODY
) -> list[RunListItem]:
    """Visibility comes a moment after."""
    return await until(
        lambda: listed(records, stage, wanted),
        true=lambda lines: sorted(line.run_id for line in lines) == sorted(ids),
    )


async def end(runs: Runs, stage: RunStage, *ids: str) -> None:
    for run_id in ids:
        assert (await runs.get_state(WORKSPACE, stage.project, run_id, wait=timedelta(seconds=30))).outcome


async def cancel(runs: Runs, stage: RunStage, run_id: str) -> None:
    await runs.cancel(WORKSPACE, stage.project, run_id, by=SOMEBODY)
    ended = await runs.get_state(WORKSPACE, stage.project, run_id, wait=timedelta(seconds=30))
    assert ended.status is RunStatus.CANCELED


def having(*statuses: RunStatus, **fields: Any) -> RunFilter:
    return RunFilter(statuses=frozenset(statuses), **fields)


async def test_the_unfinished_come_first_and_then_by_their_end_newest_first(
    records: RunQueries, runs: Runs, stage: RunStage
) -> None:
    ids = [await start(runs, stage) for _ in range(4)]
    for number in (2, 0):
        await cancel(runs, stage, ids[number])
    wanted = [ids[3], ids[1], ids[0], ids[2]]
    await until(lambda: listed(records, stage), true=lambda lines: [line.run_id for line in lines] == wanted)
    for limit in (1, 2, 3):
        assert [line.run_id for line in await listed(records, stage, limit=limit)] == wanted


async def test_a_line_tells_how_the_run_came_to_its_end(records: RunQueries, runs: Runs, stage: RunStage) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    await stage.serve_attempts(ends(failed("é" * 1000)), ends(failed("the price is missing")))
    run_id = await start(runs, stage, api="products/details", maximum_attempts=2)
    await end(runs, stage, run_id)
    (line,) = await until_listed(records, stage, [run_id], having(RunStatus.FAILED))
    assert (line.type, line.status, line.project, line.api, line.version, line.attempts) == (
        RunType.API,
        RunStatus.FAILED,
        stage.project,
        "products/details",
        "0123456789abcdef",
        2,
    )
    assert line.cause == RunCause(code="api-attempts-failed", message="the price is missing")
    assert line.ended_at is not None
    assert before < line.created_at < line.ended_at
    assert (line.auth_session_id, line.parent_run_id) == (None, None)


async def test_a_run_that_has_begun_says_when_and_with_which_attempt(
    records: RunQueries, runs: Runs, stage: RunStage
) -> None:
    held = HeldAttempt(stage, announced=True)
    await stage.serve_attempts(held)
    run_id = await start(runs, stage)
    await held.began.wait()
    (line,) = await until_listed(records, stage, [run_id], having(RunStatus.STARTED))
    assert (line.status, line.attempts, line.ended_at) == (RunStatus.STARTED, 1, None)
    began = datetime(2026, 11, 24, 10, tzinfo=UTC)
    held.end(completed().model_copy(update={"started_at": began}))
    await end(runs, stage, run_id)
    (line,) = await until_listed(records, stage, [run_id], having(RunStatus.COMPLETED))
    assert (line.status, line.started_at, line.cause) == (RunStatus.COMPLETED, began, None)


async def test_what_was_ended_in_temporal_itself_is_found_by_what_it_is(
    records: RunQueries, runs: Runs, stage: RunStage, client: Client
) -> None:
    run_id = await start(runs, stage)
    await client.get_workflow_handle(run_id).terminate("by the operator")
    (line,) = await until_listed(records, stage, [run_id], having(RunStatus.CANCELED))
    assert (line.status, line.cause and line.cause.code) == (RunStatus.CANCELED, "terminated")
    for status in set(RunStatus) - {RunStatus.CANCELED}:
        assert await listed(records, stage, having(status)) == []


async def test_filters_hold_together_and_each_takes_any_of_its_values(
    records: RunQueries, runs: Runs, stage: RunStage
) -> None:
    def logged_in(name: str) -> RunAuth:
        ref = AuthSessionRef(id=name, type=AuthSessionType.CREDENTIALS, owner=name)
        minute = timedelta(minutes=1)
        return RunAuth(ref=ref, auto_recreate=True, check_attempts=1, create_attempts=1, request_timeout=minute)

    odd = "it's %_* é漢"
    plain = await start(runs, stage, api="list")
    strange = await start(runs, stage, api=odd)
    anna = await start(runs, stage, api="list", auth=logged_in("anna@shop"))
    await until_listed(records, stage, [plain, strange, anna], RunFilter(types=frozenset({RunType.API})))
    middle = datetime.now(UTC)
    late = await start(runs, stage, api="other", auth=logged_in("bert"))
    await cancel(runs, stage, strange)
    await until_listed(records, stage, [strange], having(RunStatus.CANCELED))
    validates = RunFilter(types=frozenset({RunType.AUTH_SESSION_VALIDATE}))
    await until_listed(records, stage, [f"{anna}-v1", f"{late}-v1"], validates)
    (validate,) = await listed(records, stage, replace(validates, parent_run_id=anna))
    assert (validate.parent_run_id, validate.auth_session_id, validate.api) == (anna, "anna@shop", None)
    everything = {plain, strange, anna, late}

    async def found(types: frozenset[RunType] = frozenset({RunType.API}), **fields: Any) -> set[str]:
        return {line.run_id for line in await listed(records, stage, RunFilter(types=types, **fields))}

    assert await found() == everything
    assert await found(apis=frozenset({odd})) == {strange}
    assert await found(apis=frozenset({"list", odd})) == {plain, strange, anna}
    assert await found(auth_sessions=frozenset({"anna@shop"})) == {anna}
    assert await found(auth_sessions=frozenset({"anna@shop", "bert"}), apis=frozenset({"list"})) == {anna}
    assert await found(statuses=frozenset({RunStatus.PENDING})) == {plain, anna, late}
    assert await found(statuses=frozenset({RunStatus.PENDING, RunStatus.CANCELED})) == everything
    assert await found(types=frozenset()) == {*everything, f"{anna}-v1", f"{late}-v1"}
    assert await found(types=frozenset(RunType)) == await found(types=frozenset())
    assert await found(types=frozenset({RunType.AUTH_SESSION_CREATE})) == set()
    assert await found(created_after=middle) == {late}
    assert await found(created_before=middle) == {plain, strange, anna}
    assert await found(created_after=middle, created_before=middle) == set()
    elsewhere = middle.astimezone(timezone(timedelta(hours=5))) - timedelta(minutes=5)
    assert await found(created_after=elsewhere) == everything
    for run_id in everything - {strange}:
        await stage.client.get_workflow_handle(run_id).terminate()


async def test_the_runs_of_a_job_are_found_and_those_of_one_job_run(
    records: RunQueries, runs: Runs, stage: RunStage
) -> None:
    alone = await start(runs, stage)
    first, second, other = [
        await start(runs, stage, job=RunJob(job_id=job_id, job_run_id=job_run_id))
        for job_id, job_run_id in (("nightly", "jr_1"), ("nightly", "jr_2"), ("hourly", "jr_3"))
    ]
    await until_listed(records, stage, [alone, first, second, other])

    async def found(**fields: Any) -> set[str]:
        return {line.run_id for line in await listed(records, stage, RunFilter(**fields))}

    assert await found(jobs=frozenset({"nightly"})) == {first, second}
    assert await found(jobs=frozenset({"nightly", "hourly"})) == {first, second, other}
    assert await found(job_runs=frozenset({"jr_2"})) == {second}
    assert await found(jobs=frozenset({"hourly"}), job_runs=frozenset({"jr_2"})) == set()
    lines = {line.run_id: (line.job_id, line.job_run_id) for line in await listed(records, stage)}
    assert (lines[first], lines[alone]) == (("nightly", "jr_1"), (None, None))
    for run_id in (alone, first, second, other):
        await stage.client.get_workflow_handle(run_id).terminate()


async def test_runs_are_found_by_their_tags_their_error_and_the_beginning_of_their_id(
    records: RunQueries, runs: Runs, stage: RunStage, client: Client
) -> None:
    async def first(attempt: AttemptInput) -> AttemptOutcome:
        return failed("there is no price", final=attempt.api == "final")

    await stage.serve_attempts(first, ends(completed()))
    broken = await start(runs, stage, maximum_attempts=1, tags=("nightly", "team:a/b"))
    await end(runs, stage, broken)
    done = await start(runs, stage, f"aB{secrets.token_hex(7)}", maximum_attempts=2, tags=("nightly", "NIGHTLY"))
    await end(runs, stage, done)
    final = await start(runs, stage, api="final")
    await end(runs, stage, final)
    timed_out = run_input(stage.project, api="nobody serves its queue")
    await client.start_workflow(
        names.RUN,
        timed_out,
        id=(lost := secrets.token_hex(8)),
        task_queue="nobody",
        execution_timeout=timedelta(seconds=1),
        memo=visibility.run_memo(timed_out, fingerprint=""),
        search_attributes=visibility.run_search_attributes(timed_out),
    )
    await until_listed(records, stage, [broken, final, lost], having(RunStatus.FAILED))

    async def found(**fields: Any) -> set[str]:
        return {line.run_id for line in await listed(records, stage, RunFilter(**fields))}

    lines = {line.run_id: line.tags for line in await listed(records, stage)}
    assert lines == {broken: ("nightly", "team:a/b"), done: ("nightly", "NIGHTLY"), final: (), lost: ()}
    assert await found(tags=frozenset({"nightly"})) == {broken, done}
    assert await found(tags=frozenset({"nightly", "team:a/b"})) == {broken}
    assert await found(tags=frozenset({"NIGHTLY"})) == {done}
    assert await found(tags=frozenset({"night"})) == set()
    assert await found(error_codes=frozenset({ErrorCode.API_ATTEMPTS_FAILED})) == {broken}
    codes = {ErrorCode.API_ATTEMPTS_FAILED, ErrorCode.SCRIPT_EXECUTION_EXCEPTION}
    assert await found(error_codes=frozenset(codes)) == {broken, final}
    assert await found(error_codes=frozenset({ErrorCode.INTERNAL_SERVER_ERROR})) == {lost}
    assert await found(id_prefix=done) == await found(id_prefix=done[:12]) == {done}
    assert await found(run_ids=frozenset({done, broken.upper(), "none"})) == {done}
    assert await found(id_prefix=done[:12].swapcase()) == await found(id_prefix=f"{done[:12]}%") == set()


async def test_a_list_is_of_one_project_and_one_workspace(records: RunQueries, runs: Runs, stage: RunStage) -> None:
    ours = await start(runs, stage)
    await start(runs, stage, workspace=ELSEWHERE)
    await until(lambda: listed(records, stage, workspace=ELSEWHERE, limit=1))
    await until_listed(records, stage, [ours])
    for text in ("' OR '' = '", "\\' OR 1 = 1 -- ", "\\", '" OR "" = "', "\n"):
        for wanted in (
            RunFilter(apis=frozenset({text})),
            RunFilter(run_ids=frozenset({text, "none"})),
            RunFilter(id_prefix=text),
        ):
            page = await records.list_runs(WORKSPACE, stage.project, wanted, limit=10)
            assert page.runs == (), "a value is a value"


async def test_no_run_is_left_out_while_others_start_and_end(records: RunQueries, runs: Runs, stage: RunStage) -> None:
    chance = random.Random(7)

    async def attempt(_input: AttemptInput) -> AttemptOutcome:
        await asyncio.sleep(chance.random() / 10)
        return completed()

    there = {await start(runs, stage) for _ in range(60)}
    await until_listed(records, stage, sorted(there))
    over = asyncio.Event()

    async def keep_starting() -> None:
        while not over.is_set():
            await start(runs, stage)

    await stage.serve_attempts(attempt)
    starting = asyncio.create_task(keep_starting())
    try:
        rounds = 0
        ended = 0
        while ended < len(there):  # the first pages see all of them unfinished, the last ones all ended
            lines = await listed(records, stage, limit=7)
            assert there <= {line.run_id for line in lines}, f"round {rounds} left some out"
            last = {line.run_id: line for line in lines}  # one that ended meanwhile may have come again
            ended = sum(last[run_id].ended_at is not None for run_id in there)
            rounds += 1
        assert rounds > 1
    finally:
        over.set()
        await starting


async def test_a_record_has_the_order_and_which_run_it_repeats(
    records: RunQueries, runs: Runs, stage: RunStage
) -> None:
    first = await start(runs, stage, api="products/details")
    again = secrets.token_hex(8)
    await runs.start(again, run_input(stage.project), fingerprint="", rerun_of=first)
    known = await records.get_details(WORKSPACE, stage.project, first)
    assert known.input == run_input(stage.project, api="products/details")
    assert (known.list_item.status, known.rerun_of) == (RunStatus.PENDING, None)
    await cancel(runs, stage, again)
    known = await records.get_details(WORKSPACE, stage.project, again)
    assert (known.input, known.rerun_of) == (run_input(stage.project), first)
    assert known.state.outcome is not None
    assert (known.list_item.status, known.list_item.attempts) == (RunStatus.CANCELED, known.state.outcome.attempts)
    assert known.list_item.ended_at is not None
    for workspace, project in ((ELSEWHERE, stage.project), (WORKSPACE, "other")):
        with pytest.raises(NotFound):
            await records.get_details(workspace, project, first)


async def test_all_runs_are_read_and_abnormal_ends_are_looked_for_once(
    records: RunQueries, runs: Runs, stage: RunStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [await start(runs, stage) for _ in range(5)]
    await until_listed(records, stage, ids)
    looked = list[RunFilter]()

    async def look(client: Client, project: str, run_filter: RunFilter) -> frozenset[RunStatus]:
        looked.append(run_filter)
        return await abnormal_statuses(client, project, run_filter)

    monkeypatch.setattr(run_queries, "abnormal_statuses", look)
    monkeypatch.setattr(run_queries, "_LONG_PAGE", 2)
    wanted = RunFilter(statuses=frozenset({RunStatus.PENDING, RunStatus.FAILED}))
    assert {run.run_id async for run in records.list_all(WORKSPACE, stage.project, wanted)} == {*ids}
    assert looked == [wanted]
    assert [run async for run in records.list_all(ELSEWHERE, stage.project, wanted)] == []


async def test_ahead_of_a_run_are_those_that_came_before_and_wait(
    records: RunQueries, runs: Runs, stage: RunStage
) -> None:
    ids = [await start(runs, stage) for _ in range(4)]
    lines = {line.run_id: line for line in await until_listed(records, stage, ids)}

    async def count_ahead(line: RunListItem) -> int:
        return await records.count_waiting(line.project, created_before=line.created_at)

    assert [await count_ahead(lines[run_id]) for run_id in ids] == [0, 1, 2, 3]
    await cancel(runs, stage, ids[1])
    await until_listed(records, stage, [ids[1]], having(RunStatus.CANCELED))
    assert await count_ahead(lines[ids[3]]) == 2
    assert await records.count_waiting(lines[ids[3]].project) == 3


async def test_a_run_of_a_later_version_is_listed_and_told_with_its_own_words(
    client: Client, records: RunQueries, runs: Runs, stage: RunStage
) -> None:
    run_id = secrets.token_hex(8)
    words = {
        visibility.PROJECT: stage.project,
        visibility.STATUS: "parked",
        visibility.RUN_TYPE: "rehearsal",
    }
    handle = await client.start_workflow(
        "Rehearsal",
        id=run_id,
        task_queue="of-nobody",
        search_attributes=TypedSearchAttributes([SearchAttributePair(key, word) for key, word in words.items()]),
        memo={names.MEMO_WORKSPACE: WORKSPACE, names.MEMO_SUMMARY: {"version": "later"}},
    )
    try:
        (line,) = await until_listed(records, stage, [run_id])
        assert (line.status.value, line.type.value) == ("parked", "rehearsal")
        assert (await runs.get_state(WORKSPACE, stage.project, run_id)).type.value == "rehearsal"
    finally:
        await handle.terminate()
