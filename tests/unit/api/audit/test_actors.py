"""Whoever starts or cancels something is told to Temporal, and of a Run to those who may read it."""

from __future__ import annotations

from callboard.schemas.workflow.actor import Actor
from callboard.schemas.workflow.job_run import JobRunInput, JobRunType
from callboard.security.apikeys import operator_of
from tests.support.api_in_process import KEY, Api, MakeApi
from tests.support.constants import SOMEBODY
from tests.support.dashboard_client import signed_in_client
from workflows.visibility import job_run_static_details

OPERATOR = operator_of(KEY).actor
SHOWN = {"id": OPERATOR.id, "name": "operator"}


async def test_a_run_tells_who_has_started_and_who_has_canceled_it(api: Api):
    run_id = await api.run()
    assert (await api.ask(f"runs/{run_id}"))["canceledBy"] is None
    again = (await api.ask(f"runs/{run_id}/rerun", method="POST", status=201))["runId"]
    for each in (run_id, again):
        assert api.input_of(each).started_by == OPERATOR
        assert (await api.ask(f"runs/{each}"))["startedBy"] == SHOWN
    await api.client.post(f"{api.base}/{run_id}/cancel?wait=0")
    assert (await api.ask(f"runs/{run_id}"))["canceledBy"] == SHOWN
    page = await (await signed_in_client(api)).get(f"/projects/shop/runs/{run_id}")
    assert page.text.count(OPERATOR.id) == 2


async def test_what_pages_start_is_started_by_whoever_has_signed_in(api: Api):
    key = await api.make_key("runs:start", "runs:read", "runs:cancel")
    pages = await signed_in_client(api, key)
    await pages.post("/projects/shop/playground", data={"api": "list", "token": await pages.token()})
    ((run_id, entry),) = api.runs.entries.items()
    assert entry.input.started_by is not None
    assert entry.input.started_by.name == "test"
    await pages.post(f"/projects/shop/runs/{run_id}/cancel", data={"token": await pages.token()})
    assert (await api.ask(f"runs/{run_id}"))["canceledBy"]["name"] == "test"


async def test_operations_of_auth_sessions_know_who_has_started_them(make_project_api: MakeApi):
    api = await make_project_api({"authSessions": {"enabled": True, "type": "API"}})
    body = {"id": "anna", "parameters": {}}
    await api.ask("auth-sessions/create", method="POST", status=201, json=body)
    await api.ask("auth-sessions/anna/update", method="POST", status=201, json={"parameters": {}})
    await api.ask("auth-sessions/anna/validate/start", method="POST", status=201, json={})
    (created,), (updated,) = api.auth_sessions.created, api.auth_sessions.updates
    assert created.create is not None
    (validate,) = api.auth_sessions.validates.values()
    assert [created.create.started_by, updated.started_by, validate.started_by] == [OPERATOR] * 3


def test_a_job_run_says_in_temporal_whether_somebody_has_triggered_it():
    def details(job_run_type: JobRunType, by: Actor | None) -> str:
        job_run = JobRunInput(
            workspace="w", project="shop", job_id="daily", definition="d", type=job_run_type, started_by=by
        )
        return job_run_static_details(job_run).partition("started ")[2]

    assert details(JobRunType.MANUAL, SOMEBODY) == "by `nightly (Zk3vT9qLm2Xa)`"
    assert details(JobRunType.MANUAL, None) == "by hand"
    assert details(JobRunType.SCHEDULED, None) == "by its Schedule"
