"""What the Runs of a JobRun have in common: the Job goes before the project, and the project before what is usual."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from activities.jobs.item_runs import make_run_input
from activities.jobs.job_planner import JobPlanner
from callboard.projects.manifest import Manifest
from callboard.projects.project_settings import ProjectSettings
from callboard.projects.variables import Variables
from callboard.schemas.errors import SealError
from callboard.schemas.rest.env_vars import SetVariable
from callboard.schemas.rest.sink import WebhookSink
from callboard.schemas.workflow.auth import AuthSessionStatus, AuthSessionType
from callboard.schemas.workflow.auth_session import AuthSessionView
from callboard.schemas.workflow.base import INLINE_LIMIT
from callboard.schemas.workflow.job import JobAuth, JobDefinition
from callboard.schemas.workflow.job_run import JobRunPlan
from callboard.schemas.workflow.proxy import SealedProxy, owned_by_auth_session, owned_by_job
from callboard.schemas.workflow.run import RetryIntervals
from callboard.schemas.workflow.trace import TraceMode
from callboard.security import seal_context
from callboard.security.sealed_proxies import open_proxy, seal_proxy
from callboard.security.sealed_sinks import open_sink, seal_sink, seal_webhook
from callboard.storage.folder import FolderStore
from callboard.storage.job_payloads import JobItem, JobItemRetry
from tests.support.delivery_inputs import QUICK, RING
from tests.support.present import assert_has, present
from tests.support.stage import WORKSPACE

JOB_RUN = "jr_0123456789abcdefghijk"
OF_JOB = seal_context.job(WORKSPACE, "shop", "nightly")
OF_JOB_RUN = seal_context.run(WORKSPACE, "shop", JOB_RUN)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SETTINGS: dict[str, Any] = {
    "replication": {"maxConcurrentRequests": 5},
    "defaults": {"retry": {"maximumAttempts": 4}, "requestTimeout": 30},
}
PROJECT_SINK = {"type": "webhook", "url": "https://of-project.example.com/"}


def definition(**fields: Any) -> JobDefinition:
    defaults: dict[str, Any] = {
        "workspace": WORKSPACE,
        "project": "shop",
        "job_id": "nightly",
        "ref": "d1",
        "payload_count": 7,
        "configuration": {},
    }
    return JobDefinition.model_validate(defaults | fields)


def plan(job: JobDefinition, auth_session: AuthSessionView | None = None, **settings: Any) -> JobRunPlan:
    manifest = Manifest(
        project="shop",
        version="0123456789abcdef",
        settings=ProjectSettings.model_validate(settings),
        apis=("item",),
        created_at=NOW,
    )
    planner = JobPlanner(ring=RING, environment="deployed", schedule=QUICK)
    return planner.make_plan(job, manifest, JOB_RUN, auth_session)


def auth_session(**fields: Any) -> AuthSessionView:
    defaults: dict[str, Any] = {
        "id": "anna@shop",
        "type": AuthSessionType.CREDENTIALS,
        "status": AuthSessionStatus.READY,
        "created_at": NOW,
        "updated_at": NOW,
    }
    return AuthSessionView.model_validate(defaults | fields)


def test_without_anything_said_runs_are_as_those_of_a_start() -> None:
    made = plan(definition())
    assert (made.maximum_attempts, made.request_timeout, made.trace) == (3, timedelta(seconds=600), TraceMode.ALWAYS)
    assert (made.window, made.max_runs, made.payload_count) == (2, None, 7)
    assert (made.proxy, made.auth, made.sink, made.notifications) == (None, None, None, ())
    assert (made.version, made.definition, made.job_run_id) == ("0123456789abcdef", "d1", JOB_RUN)


def test_the_job_goes_before_the_project() -> None:
    of_project: dict[str, Any] = {"maximum_attempts": 4, "request_timeout": timedelta(seconds=30)}
    assert_has(plan(definition(), **SETTINGS), window=10, **of_project)
    said: dict[str, Any] = {"maximum_attempts": 1, "request_timeout": timedelta(seconds=5), "max_runs": 2}
    said |= {"trace": TraceMode.ON_FAILURE}
    made = plan(definition(max_concurrent_requests=3, **said), **SETTINGS)
    assert_has(made, window=3, **said)


async def test_each_interval_is_the_item_s_or_the_job_s_or_the_project_s(tmp_path: Path) -> None:
    second, minute, hour = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
    project = {"retry": {"initialInterval": 1, "backoffCoefficient": 4, "maximumInterval": "1h"}}
    made = plan(definition(initial_interval=minute), defaults=project)
    assert plan(definition()).retry_intervals == RetryIntervals()
    for said, initial in ((None, minute), (JobItemRetry.model_validate({"initialInterval": 1}), second)):
        item = JobItem(api_name="item", parameters={}, retry=said)
        run_input = await make_run_input(made, item, "run-1", store=FolderStore(tmp_path), ring=RING, dev_projects=None)
        assert run_input.maximum_attempts == 3
        assert run_input.retry_intervals == RetryIntervals(
            initial_interval=initial, backoff_coefficient=4, maximum_interval=hour
        )


@pytest.mark.parametrize("kind", [AuthSessionType.CREDENTIALS, AuthSessionType.RECORDER])
def test_a_login_is_recreated_where_that_is_possible(kind: AuthSessionType) -> None:
    job = definition(auth=JobAuth(id="anna@shop", check_attempts=2, create_attempts=1, save_trace="on-failure"))
    made = present(plan(job, auth_session(type=kind)).auth)
    assert made.auto_recreate is (kind is AuthSessionType.CREDENTIALS)
    assert (made.ref.id, made.ref.owner, made.ref.type) == ("anna@shop", "anna@shop", kind)
    assert (made.check_attempts, made.create_attempts, made.trace) == (2, 1, TraceMode.ON_FAILURE)


@pytest.mark.parametrize(("of_job", "of_project"), [(True, None), (False, "exclusive"), (False, None)])
def test_the_job_or_the_project_has_its_runs_take_turns(of_job: bool, of_project: str | None) -> None:
    job = definition(auth=JobAuth(id="anna@shop", is_exclusive=of_job))
    made = plan(job, auth_session(), defaults={"authSession": {"lease": of_project}})
    assert present(made.auth).is_exclusive is (of_job or of_project is not None)


def sealed(name: str, owner: str) -> SealedProxy:
    return seal_proxy(f"http://user:pw@{name}:1", RING, workspace=WORKSPACE, project="shop", owner=owner)


@pytest.mark.parametrize(
    ("of_job", "of_login", "of_project", "found"),
    [(1, 1, 1, "of-job"), (0, 1, 1, "of-login"), (0, 0, 1, "of-project"), (0, 0, 0, None)],
)
def test_the_proxy_is_the_job_s_or_the_auth_session_s_or_the_project_s(
    of_job: int, of_login: int, of_project: int, found: str | None
) -> None:
    own = sealed("of-job", owned_by_job("nightly")) if of_job else None
    login = auth_session(proxy=sealed("of-login", owned_by_auth_session("anna@shop")) if of_login else None)
    settings: dict[str, Any] = {"defaults": {"proxy": "http://user:pw@of-project:1"}} if of_project else {}
    proxy = plan(definition(proxy=own, auth=JobAuth(id="anna@shop")), login, **settings).proxy
    opened = proxy and open_proxy(proxy, RING, workspace=WORKSPACE, project="shop", carrier="another Run")
    assert opened == (found and f"http://user:pw@{found}:1")


def webhook(url: str) -> WebhookSink:
    return WebhookSink(type="webhook", url=url, headers={"x-token": "secret"})


async def test_seals_sinks_and_receivers_for_the_job_run_and_then_for_each_run(tmp_path: Any) -> None:
    job = definition(
        sink=seal_sink(webhook("https://of-job.example.com/in?key=1"), QUICK, RING, OF_JOB),
        notifications=(seal_webhook("https://told.example.com/in", {"x-token": "secret"}, RING, OF_JOB),),
    )
    made = plan(job, defaults={"sink": {"deployed": PROJECT_SINK}})
    sink = present(made.sink)
    assert open_sink(sink, RING, OF_JOB_RUN)["url"] == "https://of-job.example.com/in?key=1"
    (told,) = made.notifications
    assert open_sink(told, RING, OF_JOB_RUN)["headers"] == {"x-token": "secret"}
    with pytest.raises(SealError):
        open_sink(sink, RING, OF_JOB)

    item = JobItem(api_name="item", parameters={"n": 1})
    run_input = await make_run_input(made, item, "run-1", store=FolderStore(tmp_path), ring=RING, dev_projects=None)
    sink, of_run = present(run_input.sink), seal_context.run(WORKSPACE, "shop", "run-1")
    assert open_sink(sink, RING, of_run)["headers"] == {"x-token": "secret"}
    with pytest.raises(SealError):
        open_sink(sink, RING, OF_JOB_RUN)


def test_the_project_s_own_sink_is_that_of_a_job_without_one() -> None:
    sink = present(plan(definition(), defaults={"sink": {"deployed": PROJECT_SINK}}).sink)
    assert open_sink(sink, RING, OF_JOB_RUN)["url"] == "https://of-project.example.com/"


@pytest.mark.parametrize("alerts", [[], [{"failures": 1, "within": 60, "url": "https://hook.example"}]])
async def test_a_run_of_an_item_is_counted_if_the_project_has_alerts(tmp_path: Path, alerts: list[Any]) -> None:
    made, item = plan(definition(), alerts=alerts), JobItem(api_name="item", parameters={})
    run_input = await make_run_input(made, item, "run-1", store=FolderStore(tmp_path), ring=RING, dev_projects=None)
    assert run_input.has_alerts == bool(alerts)


async def test_a_run_of_an_item_reads_variables_once_there_is_one(tmp_path: Path) -> None:
    store, item = FolderStore(tmp_path), JobItem(api_name="item", parameters={})

    async def reads_variables() -> bool:
        made = await make_run_input(plan(definition()), item, "run-1", store=store, ring=RING, dev_projects=None)
        return made.reads_variables

    assert not await reads_variables()
    await Variables(WORKSPACE, store, RING).set("shop", "A", SetVariable(value="1"), by="me")
    assert await reads_variables()


@pytest.mark.parametrize(("maximum_attempts", "inline"), [(1, True), (50, False)])
async def test_parameters_of_many_attempts_are_stored_to_keep_the_history_small(
    tmp_path: Path, maximum_attempts: int, inline: bool
) -> None:
    item = JobItem(api_name="item", parameters={"text": "x" * (INLINE_LIMIT - 100)})
    made = plan(definition(maximum_attempts=maximum_attempts))
    run_input = await make_run_input(made, item, "run-1", store=FolderStore(tmp_path), ring=RING, dev_projects=None)
    assert (run_input.parameters.key is None) is inline


async def test_a_run_has_the_tags_of_its_job_and_those_of_its_item(tmp_path: Path) -> None:
    item = JobItem.from_line(JobItem(api_name="item", parameters={}, tags=("b", "c")).to_line())
    run_input = await make_run_input(
        plan(definition(tags=("a", "b"))), item, "run-1", store=FolderStore(tmp_path), ring=RING, dev_projects=None
    )
    assert run_input.tags == ("a", "b", "c")
