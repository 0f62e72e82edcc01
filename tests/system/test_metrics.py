"""An api and a worker as plain processes: what they expose after Runs of each kind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from devstack import ports
from devstack.temporal import TemporalServer
from projects.deploy import deploy
from storage.folder import FolderStore
from telemetry.metrics import INSTRUMENTS
from tests.support.api_in_process import KEY
from tests.support.api_process import ApiProcess
from tests.support.constants import WORKSPACE
from tests.support.repository import REPOSITORY
from tests.support.webhook_receiver import answers, receiver

pytestmark = pytest.mark.timeout(240)

PATIENCE = 60
OF_THE_API = {
    "callboard_build_info",
    "callboard_runs_accepted_total",
    "callboard_runs_waiting",
    "callboard_http_requests_total",
    "callboard_http_request_duration_seconds",
}
OF_BOTH = {"callboard_build_info", "callboard_runs_accepted_total"}
PLAIN = {
    "Intuned.jsonc": '{"projectName": "plain", "replication": {"maxConcurrentRequests": 2}}',
    "api/echo.py": "async def automation(page, params=None, **_):\n    return params\n",
    "api/wrong.py": "async def automation(page, params=None, **_):\n    raise ValueError('no')\n",
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


class Measured:
    """The two processes, and where they tell how they do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        free = ports.choose_ports(dict.fromkeys(("api", "worker", "health"), 0))
        self.addresses = {name: f"127.0.0.1:{port}" for name, port in free.items()}
        self.api: ApiProcess
        self.worker: asyncio.subprocess.Process
        self.temporal: TemporalServer

    async def scrape(self, process: str) -> Scrape:
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"http://{self.addresses[process]}/metrics")
        assert answer.status_code == 200
        return Scrape(answer.text)

    async def until(self, process: str, tells: Callable[[Scrape], Any]) -> Scrape:
        """Scrape until it tells this."""
        async with asyncio.timeout(PATIENCE):
            while not tells(scrape := await self.scrape(process)):
                await asyncio.sleep(0.1)
        return scrape

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = await self.api.client.request(method, f"{self.api.base}/{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    async def run(self, project: str, api: str, **fields: Any) -> str:
        body = {"api": api, "parameters": {}, "retry": {"maximumAttempts": 1}, **fields}
        return (await self.call("POST", f"{project}/run/start", body))["runId"]

    async def end(self, project: str, run_id: str) -> str:
        async with asyncio.timeout(PATIENCE):
            while True:
                state = await self.call("GET", f"{project}/run/{run_id}/result?wait=30")
                if state["status"] not in {"pending", "started"}:
                    return state["status"]


@pytest.fixture(scope="module")
async def measured(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Measured]:
    folder = tmp_path_factory.mktemp("measured")
    measured = Measured(folder)
    free = ports.choose_ports({"--port": 0, "--ui-port": 0})
    store = FolderStore(folder / "artifacts")
    for name, files in (("plain", PLAIN), ("members", MEMBERS)):
        for path, text in files.items():
            (folder / name / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / name / path).write_text(text)
        await deploy(folder / name, store)
    async with AsyncExitStack() as resources:
        (folder / "temporal").mkdir()
        measured.temporal = TemporalServer(
            folder / "temporal", port=free["--port"], ui_port=free["--ui-port"], report=print
        )
        resources.push_async_callback(measured.temporal.stop)
        await measured.temporal.start()
        environment = {
            "CALLBOARD_API_KEYS": KEY,
            "CALLBOARD_WORKSPACE_ID": WORKSPACE,
            "CALLBOARD_SECRET_KEY": "sealing-key-of-the-measured",
            "CALLBOARD_WEBHOOK_SECRETS": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "CALLBOARD_TEMPORAL_ADDRESS": measured.temporal.address,
            "CALLBOARD_ARTIFACTS": str(folder / "artifacts"),
            "CALLBOARD_EGRESS_ALLOW": "127.0.0.0/8",
            "CALLBOARD_VIEWER_PORT": "0",
            "CALLBOARD_DRAIN": "1",
            "CALLBOARD_MACHINE_MAX_ATTEMPTS": "6",  # as many as `members` has, and more than `plain` has
        }
        plain = {name: value for name, value in os.environ.items() if not name.startswith("CALLBOARD_")}
        if chromium := os.environ.get("CALLBOARD_CHROMIUM"):
            environment["CALLBOARD_CHROMIUM"] = chromium
        log = folder / "worker.log"
        with log.open("wb") as out:
            measured.worker = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "worker"),
                cwd=REPOSITORY,
                env={
                    **plain,
                    **environment,
                    "CALLBOARD_DATA_DIR": str(folder / "data"),
                    "CALLBOARD_METRICS_ADDRESS": measured.addresses["worker"],
                    "CALLBOARD_HEALTH_ADDRESS": measured.addresses["health"],
                },
                stdout=out,
                stderr=out,
            )

        async def stop() -> None:
            if measured.worker.returncode is None:
                measured.worker.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(measured.worker.wait(), PATIENCE) == 0, log.read_text()

        resources.push_async_callback(stop)
        of_api = {**environment, "CALLBOARD_METRICS_ADDRESS": measured.addresses["api"]}
        measured.api = await resources.enter_async_context(ApiProcess(of_api, folder / "api.log"))
        await measured.api.alive()
        yield measured


@pytest.fixture(scope="module")
async def scrapes(measured: Measured) -> dict[str, Scrape]:
    """What both processes tell after Runs of each kind."""
    async with receiver(answers("503 Later"), answers()) as hook:
        ended = await measured.run("plain", "echo", sink={"type": "webhook", "url": f"{hook.url}/hook"})
        assert await measured.end("plain", ended) == "completed"
        assert await measured.end("plain", await measured.run("plain", "wrong")) == "failed"
        canceled = await measured.run("plain", "waits")
        await measured.until("worker", lambda told: told.value("callboard_machines", project="plain", state="busy"))
        await measured.call("POST", f"plain/run/{canceled}/cancel")
        assert await measured.end("plain", canceled) == "canceled"
        session = {"id": "first", "parameters": {"user": "one"}}
        await measured.call("POST", "members/auth-sessions/create", session)
        await measured.until(
            "worker",
            lambda told: told.value("callboard_auth_session_checks_total", project="members", outcome="good"),
        )
        for _ in range(2):
            logged_in = await measured.run("members", "echo", authSession={"id": "first"})
            assert await measured.end("members", logged_in) == "completed"
        job = {"id": "all", "payload": [{"apiName": "echo", "parameters": {}}] * 2, "configuration": {}}
        await measured.call("POST", "plain/jobs", job)
        await measured.call("POST", "plain/jobs/all/trigger")
        assert (await measured.api.client.get(f"{measured.api.url}/nowhere/{ended}")).status_code == 404
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
            if each.exported_name in OF_BOTH or (each.exported_name in OF_THE_API) == (process == "api")
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
    assert worker.value("callboard_delivery_tries_total", sink="webhook", outcome="failed") == 1
    assert worker.value("callboard_delivery_tries_total", sink="webhook", outcome="delivered") == 1
    assert worker.value("callboard_machines_recycled_total", project="members", cause="attempts") == 1
    assert worker.value("callboard_machines", project="plain", state="leased") == 2
    # Those of the JobRun were started by the worker.
    assert api.value("callboard_runs_accepted_total", project="plain") == 3
    assert worker.value("callboard_runs_accepted_total", project="plain") == 2
    route = "/api/v1/workspace/{workspaceId}/projects/{projectName}/run/start"
    assert api.value("callboard_http_requests_total", method="POST", route=route, status="201") == 5
    assert api.value("callboard_http_requests_total", method="GET", route="other", status="404") == 1


async def test_a_machine_has_some_memory_and_not_all(scrapes: dict[str, Scrape]) -> None:
    memory = scrapes["worker"].value("callboard_machines_memory_bytes", project="plain")
    assert memory is not None
    assert 50e6 < memory < 4e9


async def test_a_frozen_temporal_is_no_reason_to_end_the_processes(
    measured: Measured, scrapes: dict[str, Scrape]
) -> None:
    server = measured.temporal.processes[0].pid
    assert server is not None
    os.kill(server, signal.SIGSTOP)
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            for address in (f"http://{measured.addresses['health']}", measured.api.url):
                answer = await client.get(f"{address}/healthz")
                assert (answer.status_code, answer.json()) == (200, {"status": "alive"})
            assert (await client.get(f"{measured.api.url}/readyz")).status_code == 503
    finally:
        os.kill(server, signal.SIGCONT)


async def test_a_stopped_worker_answers_no_probe(measured: Measured) -> None:
    measured.worker.send_signal(signal.SIGSTOP)
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=1) as client:
            with pytest.raises(httpx.TimeoutException):
                await client.get(f"http://{measured.addresses['health']}/healthz")
    finally:
        measured.worker.send_signal(signal.SIGCONT)


def _version(scrape: Scrape) -> str:
    (sample,) = scrape.families["callboard_build_info"].samples
    return sample.labels["version"]
