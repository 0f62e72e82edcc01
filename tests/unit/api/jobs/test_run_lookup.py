"""A JobRun is found by its id alone."""

from __future__ import annotations

from tests.support.api_in_process import Api
from tests.support.constants import WORKSPACE

PROJECTS = f"/api/v1/workspace/{WORKSPACE}/projects"


async def test_a_job_run_is_found_by_its_id_alone_in_its_project_only(api: Api) -> None:
    job = {"id": "found-by-id", "payload": [], "configuration": {}}
    assert (await api.client.post(f"{PROJECTS}/shop/jobs", json=job)).status_code == 201
    job_run_id = (await api.client.post(f"{PROJECTS}/shop/jobs/found-by-id/trigger")).json()["jobRunId"]
    found = await api.client.get(f"{PROJECTS}/shop/job-runs/{job_run_id}")
    assert (found.status_code, found.json()["jobRun"]["job_id"]) == (200, "found-by-id")
    assert found.json() == (await api.client.get(f"{PROJECTS}/shop/jobs/found-by-id/runs/{job_run_id}")).json()
    assert (await api.client.get(f"{PROJECTS}/members/job-runs/{job_run_id}")).status_code == 404
    assert (await api.client.get(f"{PROJECTS}/shop/job-runs/nobody")).status_code == 404
