"""An api and a worker as plain processes: what they expose after Runs of each kind."""

from __future__ import annotations

import os
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from callboard.dev import ports
from callboard.dev.temporal import TemporalServer
from callboard.projects.deploy import deploy
from callboard.storage.folder import FolderStore
from callboard.telemetry.metrics import INSTRUMENTS
from tests.support.files import write_files
from tests.support.installation import Parts
from tests.support.polling import until
from tests.support.rest import Rest
from tests.support.temporal_servers import dev_server
from tests.support.webhook_receiver import answers, receiver

pytestmark = pytest.mark.timeout(240)

OF_THE_API = {
    "callboard_build_info",
    "callboard_runs_accepted_total",
    "callboard_runs_waiting",
    "callboard_http_requests_total",
    "callboard_http_request_duration_seconds",
}
OF_BOTH = {"callboard_build_info", "callboard_runs_accepted_total"}
UNTOLD = {"callboard_audit_entries_lost_total", "callboard_machines_recycled_total"}
"""What is told once it has happened, and does not happen here."""
PLAIN = {
    "Intuned.jsonc": '{"projectName": "plain", "replication": {"maxConcurrentRequests": 2}}',
    "api/echo.py": "async def automation(page, params=None, **_):\n    return params\n",
    "api/wrong.py": (
        "from callboard_runtime import request_input\n"
        "async def automation(page, params=None, **_):\n    await request_input('Does nobody answer?', timeout=1)\n"
    ),
    "api/waits.py": "import asyncio\nasync def automation(page, params=None, **_):\n    await asyncio.sleep(600)\n",
}
MEMBERS = {
    "Intuned.jsonc": (
        '{"projectName": "members", "replication": {"maxConcurrentRequests": 1},'
        ' "authSessions": {"enabled": true, "type": "API"}}'
    ),
    "api/echo.py": PLAIN["api/echo.py"],
    "auth-sessions/create.py": "async def create(page, params=None, **_):\n    assert params['user']\n",
    "auth-sessions/check.py": "async def check(page, **_):\n    return True\n",
}

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Scrape:
    """What one process tells at one moment."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families: dict[str, Metric] = {}
        for family in text_string_to_metric_families(text):
            assert family.name not in self.families
            self.families[family.name] = family
        self.samples: Samples = {}
        for family in self.families.values():
            for sample in family.samples:
                key = sample.name, tuple(sorted(sample.labels.items()))
                assert key not in self.samples, "a series comes twice"
                self.samples[key] = sample.value

    def value(self, name: str, **labels: str) -> float | None:
        return self.samples.get((name, tuple(sorted(labels.items()))))

    def told(self) -> dict[str, tuple[str, set[str]]]:
        """Type and labels of each of Callboard's metrics."""
        return {
            f"{name}_total" if family.type == "counter" else name: (
                family.type,
                {label for sample in family.samples for label in sample.labels} - {"le"},
            )
            for name, family in self.families.items()
            if name.startswith("callboard_")
        }


class Measured(Parts):
    """The two processes, and where they tell how they do."""

    rest: Rest
    worker_process: Process

    def __init__(self, folder: Path, temporal: TemporalServer) -> None:
        super().__init__(
            folder,
            project="plain",
            CALLBOARD_TEMPORAL_ADDRESS=temporal.address,
            CALLBOARD_DRAIN="1",
        )
        free = ports.choose_ports(dict.fromkeys(("api", "worker", "health"), 0))
        self.addresses = {name: f"127.0.0.1:{port}" for name, port in free.items()}
        self.temporal = temporal

    async def scrape(self, process: str) -> Scrape:
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"http://{self.addresses[process]}/metrics")
        assert answer.status_code == 200
        return Scrape(answer.text)

    async def until(self, process: str, tells: Callable[[Scrape], Any]) -> Scrape:
        """Scrape until it tells this."""
        return await until(lambda: self.scrape(process), true=tells, every=0.1)

    async def start(self, project: str, api: str, **fields: Any) -> str:
        return await self.rest.start(api, project=project, retry={"maximumAttempts": 1}, **fields)

    async def end(self, project: str, run_id: str) -> str:
        return (await self.rest.result(run_id, project=project))["status"]


@pytest.fixture(scope="module")
async def measured(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Measured]:
    folder = tmp_path_factory.mktemp("measured")
    for name, files in (("plain", PLAIN), ("members", MEMBERS)):
        await deploy(write_files(folder / name, files), FolderStore(folder / "artifacts"))
    async with dev_server(folder / "temporal") as temporal, AsyncExitStack() as resources:
        measured = Measured(folder, temporal)
        of_worker = {
            "CALLBOARD_METRICS_ADDRESS": measured.addresses["worker"],
            "CALLBOARD_HEALTH_ADDRESS": measured.addresses["health"],
        }
        measured.worker_process = (await measured.worker(resources, "worker", **of_worker)).process
        api = measured.api(CALLBOARD_METRICS_ADDRESS=measured.addresses["api"])
        measured.rest = await resources.enter_async_context(api)
        yield measured


@pytest.fixture(scope="module")
async def scrapes(measured: Measured) -> dict[str, Scrape]:
    """What both processes tell after Runs of each kind."""
    async with receiver(answers("503 Later"), answers()) as hook:
        ended = await measured.start("plain", "echo", sink={"type": "webhook", "url": f"{hook.url}/hook"})
        assert await measured.end("plain", ended) == "completed"
        assert await measured.end("plain", await measured.start("plain", "wrong")) == "failed"
        canceled = await measured.start("plain", "waits")
        await measured.until("worker", lambda told: told.value("callboard_machines", project="plain", state="busy"))
        await measured.rest.cancel(canceled, wait=0)
        assert await measured.end("plain", canceled) == "canceled"
        session = {"id": "first", "parameters": {"user": "one"}}
        await measured.rest.post("auth-sessions/create", session, project="members")
        await measured.until(
            "worker",
            lambda told: told.value("callboard_auth_session_checks_total", project="members", outcome="good"),
        )
        for _ in range(2):
            logged_in = await measured.start("members", "echo", authSession={"id": "first"})
            assert await measured.end("members", logged_in) == "completed"
        job = {"id": "all", "payload": [{"apiName": "echo", "parameters": {}}] * 2, "configuration": {}}
        await measured.rest.post("jobs", job)
        await measured.rest.post("jobs/all/trigger")
        assert (await measured.rest.http.get(f"/nowhere/{ended}")).status_code == 404
        await measured.until(
            "worker", lambda told: told.value("callboard_job_runs_ended_total", project="plain", status="SUCCESS")
        )
        worker = await measured.until(
            "worker",
            lambda told: (
                told.value("callboard_deliveries_ended_total", project="plain", sink="webhook", status="delivered")
                and told.value("callboard_machines_memory_bytes", project="plain")
            ),
        )
    api = await measured.until("api", lambda told: told.value("callboard_runs_waiting", project="plain") is not None)
    return {"api": api, "worker": worker}


async def test_each_process_tells_its_metrics_and_nothing_else(scrapes: dict[str, Scrape]) -> None:
    for process, scrape in scrapes.items():
        expected = {
            each.exported_name: (each.kind, set(each.labels))
            for each in INSTRUMENTS
            if each.exported_name not in UNTOLD
            and (each.exported_name in OF_BOTH or (each.exported_name in OF_THE_API) == (process == "api"))
        }
        assert scrape.told() == expected
        assert any(name.startswith("temporal_") for name in scrape.families)
        assert scrape.value("callboard_build_info", role=process, version=_version(scrape)) == 1


async def test_each_event_is_counted_once(scrapes: dict[str, Scrape]) -> None:
    worker, api = scrapes["worker"], scrapes["api"]
    ended = {
        ("plain", "completed", ""): 3,
        ("plain", "failed", "script-execution-exception"): 1,
        ("plain", "canceled", "cancelled-user-action"): 1,
        ("members", "completed", ""): 2,
    }
    for (project, status, reason), count in ended.items():
        assert worker.value("callboard_runs_ended_total", project=project, status=status, reason=reason) == count
    assert sum(worker.samples[key] for key in worker.samples if key[0] == "callboard_runs_ended_total") == 7
    assert worker.value("callboard_run_duration_seconds_count", project="plain", status="completed") == 3
    assert worker.value("callboard_run_wait_seconds_count", project="plain") == 5
    assert worker.value("callboard_attempts_ended_total", project="plain", status="completed") == 3
    assert worker.value("callboard_attempts_ended_total", project="plain", status="canceled") == 1
    assert worker.value("callboard_attempts_ended_total", project="members", status="completed") == 6
    assert worker.value("callboard_attempt_duration_seconds_count", project="plain", status="failed") == 1
    assert worker.value("callboard_auth_session_creates_total", project="members", outcome="created") == 1
    assert worker.value("callboard_auth_session_checks_total", project="members", outcome="good") == 3
    assert worker.value("callboard_handoffs_ended_total", project="plain", kind="input", status="expired") == 1
    assert worker.value("callboard_handoffs_open", project="plain") == 0
    assert worker.value("callboard_delivery_tries_total", sink="webhook", outcome="failed") == 1
    assert worker.value("callboard_delivery_tries_total", sink="webhook", outcome="delivered") == 1
    assert worker.value("callboard_machines", project="plain", state="leased") == 2
    # Those of the JobRun were started by the worker.
    assert api.value("callboard_runs_accepted_total", project="plain") == 3
    assert worker.value("callboard_runs_accepted_total", project="plain") == 2
    route = "/api/v1/workspace/{workspaceId}/projects/{projectName}/run/start"
    assert api.value("callboard_http_requests_total", method="POST", route=route, status="201") == 5
    assert api.value("callboard_http_requests_total", method="GET", route="other", status="404") == 1


async def test_a_frozen_temporal_is_no_reason_to_end_the_processes(
    measured: Measured, scrapes: dict[str, Scrape]
) -> None:
    server = measured.temporal.processes[0].pid
    assert server is not None
    os.kill(server, signal.SIGSTOP)
    try:
        http = measured.rest.http
        for address in (f"http://{measured.addresses['health']}", ""):
            answer = await http.get(f"{address}/healthz")
            assert (answer.status_code, answer.json()) == (200, {"status": "alive"})
        assert (await http.get("/readyz")).status_code == 503
    finally:
        os.kill(server, signal.SIGCONT)


def _version(scrape: Scrape) -> str:
    (sample,) = scrape.families["callboard_build_info"].samples
    return sample.labels["version"]
