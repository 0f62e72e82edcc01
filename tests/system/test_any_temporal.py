"""A Temporal that wants TLS, a client certificate or an API key, and refuses what Temporal Cloud refuses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from callboard.dev.temporal import TemporalServer
from callboard.machines.keeper_process import processes_of
from tests.support.certificates import Authority
from tests.support.cloud_proxy import CloudProxy
from tests.support.installation import API_KEY, KEY, NAMESPACE, SERVER_NAME, CloudInstallation
from tests.support.polling import until
from tests.support.rest import PATIENCE
from tests.support.temporal_servers import set_up_namespace
from tests.support.temporal_servers import temporal as temporal
from tests.support.webhook_receiver import receiver

pytestmark = pytest.mark.timeout(300)

PROJECT = {
    "Intuned.jsonc": '{"projectName": "cloud", "replication": {"maxConcurrentRequests": 2}}',
    "api/title.py": """
async def automation(page, params=None, **_):
    await page.set_content("<title>in the cloud</title>")
    return await page.title()
""",
    "api/variables.py": """
import os


async def automation(page, params=None, **_):
    return dict(os.environ)
""",
    "api/connect.py": """
import asyncio


async def automation(page, params, **_):
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", params["port"])
    except PermissionError:
        return "closed"
    writer.close()
    return "open"
""",
    "api/gate.py": """
import asyncio
from pathlib import Path


async def automation(page, params, **_):
    folder = Path(params["folder"])
    with (folder / f"begun-{params['n']}").open("x"):  # a second Attempt fails
        pass
    while not (folder / "go").exists():
        await asyncio.sleep(0.02)
    return params["n"]
""",
}


@pytest.fixture(scope="module")
async def namespace(temporal: TemporalServer) -> Client:
    """The namespace, as somebody with all rights has set it up."""
    _, client = await set_up_namespace(temporal, NAMESPACE, temporal_environment_config=False)
    return client


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module", params=["client certificate", "API key"])
async def cloud(
    request: Any,
    tmp_path_factory: pytest.TempPathFactory,
    temporal: TemporalServer,
    namespace: Client,
    authority: Authority,
) -> AsyncIterator[CloudInstallation]:
    folder = tmp_path_factory.mktemp("cloud")
    by_key = request.param == "API key"
    proxy = CloudProxy(
        temporal.address,
        authority.sign("server", SERVER_NAME),
        namespace=NAMESPACE,
        client_ca=None if by_key else authority.file.read_bytes(),
        api_key=API_KEY if by_key else None,
    )
    async with proxy:
        installation = CloudInstallation(folder, authority, proxy)
        if by_key:
            installation.use_api_key()
        else:
            installation.use_certificate()
        await installation.deploy(PROJECT)
        ready = {"CALLBOARD_READY_NEEDS_WORKERS": "true"}
        async with installation.part("worker", "worker"), installation.api(**ready) as installation.rest:
            yield installation
    assert processes_of(folder) == []
    assert list((folder / "worker" / "workers").iterdir()) == []


async def test_runs_complete_in_one_attempt_and_are_delivered_and_canceled(cloud: CloudInstallation) -> None:
    async with receiver() as inbox:
        run_id = await cloud.rest.start("title", sink={"type": "webhook", "url": inbox.url})
        assert (await cloud.rest.result(run_id))["result"] == "in the cloud"
        (request,) = await inbox.until(1)
        assert json.loads(request.body)["apiInfo"]["runId"] == run_id
    details = await cloud.rest.get(f"runs/{run_id}")
    assert [attempt["status"] for attempt in details["attempts"]] == ["completed"], details
    listed = await cloud.rest.get("runs", status="completed")
    assert run_id in [run["runId"] for run in listed["runs"]]

    folder = cloud.folder / "cancel"
    folder.mkdir()
    run_id = await cloud.rest.start("gate", {"folder": str(folder), "n": 1})
    await until((folder / "begun-1").exists, PATIENCE)
    assert (await cloud.rest.cancel(run_id))["status"] == "canceled"


async def test_an_attempt_outlasts_its_heartbeats_and_a_cut_of_the_connection(
    cloud: CloudInstallation, tmp_path: Path
) -> None:
    folder = cloud.folder / "cut"
    folder.mkdir()
    run_id = await cloud.rest.start("gate", {"folder": str(folder), "n": 1})
    await until((folder / "begun-1").exists, PATIENCE)
    cloud.proxy.passed.clear()
    await until(lambda: "RecordActivityTaskHeartbeat" in cloud.proxy.passed, PATIENCE)
    await cloud.proxy.stop()
    cut = await cloud.rest.http.get("/readyz")
    assert cut.status_code == 503
    assert cut.json()["temporal"]["status"] == "failed"
    await asyncio.sleep(3)  # the length of the cut itself, and not a wait for something
    cloud.proxy.passed.clear()
    await cloud.proxy.start()
    await until(lambda: "RecordActivityTaskHeartbeat" in cloud.proxy.passed, PATIENCE)
    (folder / "go").touch()
    assert (await cloud.rest.result(run_id))["result"] == 1
    details = await cloud.rest.get(f"runs/{run_id}")
    assert [attempt["status"] for attempt in details["attempts"]] == ["completed"]


async def test_a_job_runs_by_its_schedule_and_by_hand(cloud: CloudInstallation, namespace: Client) -> None:
    body = {
        "id": "titles",
        "payload": [{"apiName": "title", "parameters": {}}] * 3,
        "configuration": {},
        "schedule": {"intervals": [{"every": "1h"}]},
    }
    await cloud.rest.post("jobs", body)
    job_run = (await cloud.rest.post("jobs/titles/trigger"))["jobRunId"]
    shown = await cloud.rest.until(f"jobs/titles/runs/{job_run}", lambda told: told["jobRun"]["end_time"])
    assert (shown["jobRun"]["status"], shown["jobRun"]["successful_runs"]) == ("SUCCESS", 3)
    assert [schedule.id async for schedule in await namespace.list_schedules() if "titles" in schedule.id]
    await cloud.rest.ask("DELETE", "jobs/titles")


async def test_user_code_sees_nothing_of_temporal_and_does_not_reach_it(cloud: CloudInstallation) -> None:
    seen = (await cloud.rest.run("variables"))["result"]
    assert [name for name in seen if name.startswith("TEMPORAL_")] == []
    assert API_KEY not in json.dumps(seen)
    port = int(cloud.proxy.address.rpartition(":")[2])
    assert (await cloud.rest.run("connect", {"port": port}))["result"] == "closed"
    async with receiver() as inbox:

        async def is_open() -> bool:  # what listens is reached at most a second after it has begun to
            return (await cloud.rest.run("connect", {"port": inbox.port})).get("result") == "open"

        await until(is_open, PATIENCE)


async def test_commands_use_the_same_connection_and_say_so(cloud: CloudInstallation) -> None:
    url = str(cloud.rest.http.base_url)
    api = {"CALLBOARD_URL": url, "CALLBOARD_API_KEY": KEY, "CALLBOARD_LIVE_ADDRESS": url}
    code, out, err = await cloud.command("fleet", "--json", **api)
    assert code == 0, err
    assert [project["held"] for project in json.loads(out)["projects"]] == [2]
    kind = "TLS, with an API key" if cloud.proxy.api_key else "TLS with a client certificate"
    code, out, err = await cloud.command("config")
    assert code == 0, err
    assert f"{cloud.proxy.address}, namespace {NAMESPACE} ({kind})" in out
    assert API_KEY not in out
    code, out, err = await cloud.command("doctor", "--json", **api)
    checks = {check["check"]: check for check in json.loads(out)["checks"]}
    assert (code, err) == (0, ""), out
    assert checks["Temporal"]["status"] == "ok"
    assert checks["Temporal"]["message"].endswith(f"at {cloud.proxy.address}, {kind}")
    for check in ("Namespace", "Search attributes", "Sweeps", "Workers", "Projects"):
        assert checks[check]["status"] == "ok", checks[check]
    # The worker of the other way to connect has ended, and Temporal remembers it for a while.
    assert checks["Live view"]["status"] in {"ok", "warning"}, checks["Live view"]


async def test_nothing_that_is_refused_is_needed(cloud: CloudInstallation) -> None:
    allowed = {"ListSearchAttributes", "RecordWorkerHeartbeat"}
    assert set(cloud.proxy.refused) <= allowed
    logs = {name: (cloud.folder / f"{name}.log").read_text() for name in ("api", "worker")}
    assert "is leaving" not in logs["worker"]
    for log in logs.values():
        assert API_KEY not in log
        assert f"Temporal at {cloud.proxy.address}, namespace {NAMESPACE} (TLS" in log
