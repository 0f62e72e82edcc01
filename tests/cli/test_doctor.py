"""`callboard doctor` finds what is missing, suggests a fix, and shows no secret."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from temporalio.client import Client
from temporalio.worker import Worker

from cli.doctor import host, keys
from cli.doctor.findings import Finding, Status
from cli.doctor.limit import check_limit
from cli.doctor.polls import check_polls
from cli.doctor.store import check_artifact_store
from cli.doctor.target import Installation
from cli.doctor.temporal import check_temporal
from cli.doctor.workers import check_projects, check_workers
from devstack import ports
from devstack.temporal import TemporalServer
from machines.isolation import find_isolation
from projects.deploy import deploy
from projects.skeleton import write_skeleton
from schemas.errors import Unavailable
from schemas.workflow import names
from schemas.workflow.fleet import FleetState, ProjectSize, RenewRequest
from settings import Settings
from storage.folder import FolderStore
from temporal.client import connect
from temporal.fleet import FleetClient, fleet_worker
from temporal.namespace import Retention, ensure_namespace
from tests.support.fleet_stage import fleet_state
from workflows.sweep import SweepWorkflow

GOOD_KEY = "a-key-of-this-test-of-no-worth"


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TemporalServer]:
    free = ports.choose_ports({"--temporal-port": 0, "--ui-port": 0})
    folder = tmp_path_factory.mktemp("temporal")
    server = TemporalServer(folder, port=free["--temporal-port"], ui_port=free["--ui-port"], report=print)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()


async def namespace(server: TemporalServer, name: str, **fields: Any) -> tuple[Settings, Client]:
    """One that is set up."""
    settings = Settings(temporal_address=server.address, temporal_namespace=name, **fields)
    client = await connect(settings)
    await ensure_namespace(client, Retention.from_settings(Settings()))
    return settings, client


def run(*options: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CALLBOARD_")}
    return subprocess.run(
        [Path(sys.executable).with_name("callboard"), "doctor", *options],
        cwd=cwd,
        env=clean | {"CALLBOARD_DATA_DIR": str(cwd / "data")} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


# The command.


async def test_where_nothing_is_set_up_every_failure_comes_with_what_to_do(tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{ports.choose_ports({'': 0})['']}"
    done = run("--json", cwd=tmp_path, CALLBOARD_TEMPORAL_ADDRESS=nobody, CALLBOARD_ROLE="control")
    assert (done.returncode, done.stderr) == (1, "")
    told = json.loads(done.stdout)
    assert told["ok"] is False
    status = {check["check"]: check["status"] for check in told["checks"]}
    assert status == {
        "Python": "ok",
        "Browser": "skipped",
        "Browser sandbox": "skipped",
        "Isolation": "skipped",
        "uv": "ok",
        "Temporal": "failed",
        "Namespace": "skipped",
        "Search attributes": "skipped",
        "Sweeps": "skipped",
        "Artifact store": "ok",
        "API keys": "failed",
        "Secret key": "failed",
        "Webhook secrets": "warning",
        "Workers": "skipped",
        "Builds of workers": "skipped",
        "Projects": "skipped",
        "Limit of Machines": "skipped",
        "Polls": "skipped",
        "Order of Runs": "skipped",
    }
    for check in told["checks"]:
        assert (check["fix"] is not None) is (check["status"] in {"failed", "warning"}), check


@pytest.mark.parametrize(
    ("part", "needless"),
    [("api", ["Browser", "Browser sandbox", "Isolation", "uv", "Webhook secrets"]), ("worker", ["API keys"])],
)
async def test_for_one_part_nothing_is_asked_that_only_the_other_needs(
    server: TemporalServer, tmp_path: Path, part: str, needless: list[str]
) -> None:
    await namespace(server, "one-part")
    done = run(
        *("--part", part, "--json"),
        cwd=tmp_path,
        CALLBOARD_TEMPORAL_ADDRESS=server.address,
        CALLBOARD_TEMPORAL_NAMESPACE="one-part",
    )
    told = json.loads(done.stdout)["checks"]
    assert [check["check"] for check in told if check["status"] == "skipped"] == needless


async def test_piped_it_is_plain_lines_without_a_secret(tmp_path: Path, server: TemporalServer) -> None:
    done = run(
        cwd=tmp_path,
        CALLBOARD_TEMPORAL_ADDRESS=server.address,
        CALLBOARD_TEMPORAL_NAMESPACE="not-made-yet",
        CALLBOARD_ROLE="control",
        CALLBOARD_API_KEYS=f"{GOOD_KEY}-1,{GOOD_KEY}-2",
        CALLBOARD_SECRET_KEY=f"{GOOD_KEY}-3",
    )
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert "ok       API keys: 2 keys are set; the first is the newest." in lines
    there = lines.index("failed   Namespace: There is no namespace 'not-made-yet'.")
    assert lines[there + 1].startswith("         -> Run `callboard setup-namespace`.")
    assert lines[-1] == "Checked the settings of the environment: 1 of 19 checks failed."
    assert GOOD_KEY not in done.stdout
    assert "\x1b" not in done.stdout


# This host.


@pytest.mark.parametrize("role", ["all", "browser"])
async def test_a_browser_that_shows_pages_is_named_with_its_version(role: Any) -> None:
    found = await host.check_browser(Settings(role=role))
    assert found.status is Status.OK, found
    assert found.message.startswith("Chromium ")


@pytest.mark.parametrize(
    ("user", "refusal", "status", "fix"),
    [
        (
            0,
            "Chromium refuses to use it as root",
            Status.WARNING,
            "Install bubblewrap, or run workers as a user other than root.",
        ),
        (1234, "user 1234 may not make the namespaces that it needs", Status.WARNING, "Allow user 1234 to create user"),
        (1234, None, Status.OK, None),
    ],
)
async def test_whether_chromiums_sandbox_is_on_is_told_and_how_to_have_it(
    monkeypatch: pytest.MonkeyPatch, user: int, refusal: str | None, status: Status, fix: str | None
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: user)

    def answer(_browser: Path) -> str | None:
        return refusal

    monkeypatch.setattr(host, "sandbox_refusal", answer)  # the real one has tests of its own
    found = await host.check_sandbox(Settings())
    assert found.status is status
    assert (refusal or "is on") in found.message
    assert found.fix is None if fix is None else (found.fix or "").startswith(fix)


@pytest.mark.parametrize(
    ("settings", "refusal", "status", "said"),
    [
        (Settings(), None, Status.OK, "full: "),
        (Settings(), "no tun", Status.WARNING, "no network: no tun."),
        (Settings(isolation="partial"), None, Status.OK, "CALLBOARD_ISOLATION says so"),
        (Settings(isolation="full"), "no tun", Status.FAILED, "CALLBOARD_ISOLATION is full, and this host does not"),
        (Settings(role="control"), "no tun", Status.SKIPPED, "CALLBOARD_ROLE is control"),
    ],
)
async def test_the_level_of_isolation_is_told_with_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, refusal: str | None, status: Status, said: str
) -> None:
    monkeypatch.setattr(host, "find_isolation", partial(find_isolation, walls={"no network": lambda: refusal}))
    found = await host.check_isolation(settings)
    assert found.status is status
    assert said in found.message
    assert (found.fix is not None) is (status in {Status.WARNING, Status.FAILED})


async def test_without_a_browser_nothing_is_said_of_its_sandbox(tmp_path: Path) -> None:
    found = await host.check_sandbox(Settings(chromium=tmp_path / "none"))
    assert found.status is Status.SKIPPED


async def test_a_browser_that_is_not_there_is_told(tmp_path: Path) -> None:
    found = await host.check_browser(Settings(chromium=tmp_path / "none"))
    assert found.status is Status.FAILED
    assert f"CALLBOARD_CHROMIUM names {tmp_path / 'none'}, which is no browser that starts" in found.message
    assert found.fix is not None
    assert found.fix.startswith("Name the executable")


async def test_a_browser_that_starts_and_shows_no_page_is_told(tmp_path: Path) -> None:
    blind = tmp_path / "blind"
    blind.write_text("#!/bin/sh\necho Chromium 1.0\n")
    blind.chmod(0o755)
    found = await host.check_browser(Settings(chromium=blind))
    assert found.status is Status.FAILED
    assert found.message.startswith(f"{blind} shows no page: ")


async def test_a_uv_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("projects.uv.find_uv_bin", lambda: str(tmp_path / "none"))
    found = await host.check_uv()
    assert found.status is Status.FAILED
    assert found.message.startswith("uv does not start: ")


# Keys.


def test_keys_that_are_too_short_or_none_are_told_and_not_shown() -> None:
    def secrets(*values: str) -> list[SecretStr]:
        return [SecretStr(value) for value in values]

    good, short = Settings(api_keys=secrets(GOOD_KEY), secret_key=secrets(GOOD_KEY)), secrets(GOOD_KEY, "too-short")
    assert [keys.check_api_keys(good).status, keys.check_secret_key(good).status] == [Status.OK, Status.OK]
    for found, status in (
        (keys.check_api_keys(Settings(api_keys=short)), Status.FAILED),
        (keys.check_secret_key(Settings(secret_key=short)), Status.FAILED),
        (keys.check_webhook_secrets(Settings(webhook_secrets=secrets("whsec_too-short"))), Status.FAILED),
    ):
        assert found.status is status
        assert found.fix is not None
        assert "too-short" not in found.message + found.fix


@pytest.mark.parametrize("check", [keys.check_secret_key, keys.check_webhook_secrets])
def test_the_way_to_make_a_key_makes_one_that_is_good(check: Any) -> None:
    fix = check(Settings()).fix
    command = fix.partition("`")[2].partition("`")[0].replace("python3", sys.executable)
    made = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    secrets = [SecretStr(made)]
    assert check(Settings(secret_key=secrets, webhook_secrets=secrets)).status is Status.OK


# The artifact store.


async def test_a_store_that_works_is_left_as_it_was(tmp_path: Path) -> None:
    found, store = await check_artifact_store(Settings(artifacts=str(tmp_path)))
    assert found.status is Status.OK
    assert isinstance(store, FolderStore)
    assert list(tmp_path.iterdir()) == []


async def test_a_store_that_does_not_work_is_told_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    nobody = f"http://127.0.0.1:{ports.choose_ports({'': 0})['']}"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    places: list[tuple[dict[str, Any], str]] = [
        ({"artifacts": str(tmp_path / "file")}, "Not a directory"),
        ({"artifacts": "s3://bucket", "artifacts_endpoint": nobody}, f"{nobody} cannot be reached"),
        ({"artifacts": "s3://"}, "is no name of a bucket"),
        ({"artifacts": "gs://bucket"}, "cannot be kept at gs://"),
    ]
    for fields, reason in places:
        found, store = await check_artifact_store(Settings(**fields))
        assert found.status is Status.FAILED
        assert reason in found.message
        assert "CALLBOARD_ARTIFACTS" in (found.fix or "")
        assert store is None


# Temporal.


async def test_a_namespace_that_is_set_up_is_well(server: TemporalServer) -> None:
    settings, _ = await namespace(server, "well")
    looked = await check_temporal(settings)
    assert {finding.check: finding.status for finding in looked.findings} == dict.fromkeys(
        ("Temporal", "Namespace", "Search attributes", "Sweeps"), Status.OK
    )
    found = by_name(looked.findings)
    assert found["Namespace"].message == "well: Runs are kept for 7 days after they end"
    assert found["Sweeps"].message == "Artifacts are removed 8 days after the end of their Run"
    assert looked.client is not None


async def test_what_is_not_as_it_was_set_is_told(server: TemporalServer) -> None:
    settings, client = await namespace(server, "otherwise", run_retention="30d")
    handle = client.get_schedule_handle(names.SWEEP_SCHEDULE)
    await handle.pause()
    found = by_name((await check_temporal(settings)).findings)
    assert found["Namespace"].message.endswith(
        "kept for 7 days after they end, but CALLBOARD_RUN_RETENTION is 30 days."
    )
    assert found["Sweeps"].message == "The Schedule is paused: artifacts are not removed."
    await handle.delete()
    sweeps = by_name((await check_temporal(settings)).findings)["Sweeps"]
    assert (sweeps.status, sweeps.fix) == (Status.WARNING, "Run `callboard setup-namespace`.")


# Workers.


async def test_nobody_serves_anything(server: TemporalServer, tmp_path: Path) -> None:
    _, client = await namespace(server, "nobody")
    store = FolderStore(tmp_path / "store")
    found = await check_workers(client)
    assert found.status is Status.FAILED
    assert found.message == (
        "No worker polls the task queue callboard, so no Run starts; no worker polls the task queue"
        " callboard-deliveries, so no result is delivered; no worker polls the task queue callboard-fleet, so no worker"
        " gets Machines."
    )
    assert (await check_projects(client, store)).message == "No project is deployed."
    assert (await check_projects(client, None)).status is Status.SKIPPED
    write_skeleton(tmp_path, "shop")
    await deploy(tmp_path / "shop", store)
    waiting = await check_projects(client, store)
    assert waiting.status is Status.FAILED
    assert waiting.message == "No worker serves shop: their Runs wait."


async def test_a_worker_is_seen_on_its_queues(server: TemporalServer) -> None:
    _, client = await namespace(server, "somebody")
    async with (
        Worker(client, task_queue=names.CALLBOARD_QUEUE, workflows=[SweepWorkflow], identity="one"),
        Worker(client, task_queue=names.DELIVERIES_QUEUE, workflows=[SweepWorkflow], identity="one"),
        fleet_worker(client, "one"),
    ):
        async with asyncio.timeout(30):
            while (found := await check_workers(client)).status is not Status.OK:
                await asyncio.sleep(0.05)  # until they have asked for the first time
    assert found.message == "1 worker on the task queues callboard, callboard-deliveries and callboard-fleet"


async def test_who_holds_the_machines_is_told_by_the_fleet(server: TemporalServer, tmp_path: Path) -> None:
    _, client = await namespace(server, "fleet")
    store = FolderStore(tmp_path / "store")
    write_skeleton(tmp_path, "shop")
    manifest = await deploy(tmp_path / "shop", store)
    shop = ProjectSize(machines=manifest.settings.machines, deployed_at=datetime.now(UTC))
    asking = RenewRequest(worker="a", number=1, capacity=4, projects={"shop": shop}, held={}, used={})
    async with fleet_worker(client, "one"):
        await FleetClient(client).renew(asking)
        found = await check_projects(client, store)
        assert (found.status, found.message) == (Status.OK, "1 project is deployed, with 1 Machine")
        (tmp_path / "shop" / "Intuned.jsonc").write_text(
            '{"projectName": "shop", "replication": {"maxConcurrentRequests": 9}}'
        )
        await deploy(tmp_path / "shop", store)
        larger = {"shop": shop.model_copy(update={"machines": 9, "deployed_at": datetime.now(UTC)})}
        await FleetClient(client).renew(asking.model_copy(update={"number": 2, "projects": larger}))
        found = await check_projects(client, store)
        assert found.status is Status.WARNING
        assert found.message == "Machines are missing: shop (5 of 9: its workers have no room for more)."
    await client.get_workflow_handle(names.FLEET_ID).terminate()


async def store_with(folder: Path, **machines: int) -> FolderStore:
    """A store with projects that have so many Machines."""
    store = FolderStore(folder / "store")
    for project, count in machines.items():
        write_skeleton(folder, project)
        (folder / project / "Intuned.jsonc").write_text(
            json.dumps({"projectName": project, "replication": {"maxConcurrentRequests": count}})
        )
        await deploy(folder / project, store)
    return store


def with_state(monkeypatch: pytest.MonkeyPatch, state: FleetState) -> None:
    """Have the workflow `Fleet` know this."""

    async def read(_fleet: FleetClient) -> FleetState:
        return state

    monkeypatch.setattr(FleetClient, "read_state", read)


@pytest.mark.parametrize(
    ("here", "dev", "workers", "status", "said"),
    [
        (None, False, {"a": None}, Status.OK, "There is none (CALLBOARD_MAX_MACHINES); all projects together have 5"),
        (5, False, {"a": 5}, Status.OK, "All projects together may have 5 Machines, and have 5"),
        (4, False, {"a": 4}, Status.WARNING, "All projects together ask for 5 Machines, and may have 4"),
        (9, False, {"a": 9, "b": 7, "c": None}, Status.WARNING, "is 9 here, and otherwise on the workers b, c."),
        (9, False, {"a": 9, "b": 7}, Status.WARNING, "the smallest number that one of them has, which is 7."),
        (None, True, {"a": 4}, Status.WARNING, "may have 4 (CALLBOARD_MAX_MACHINES)"),
    ],
)
async def test_what_is_not_within_the_limit_of_all_projects_is_told(
    server: TemporalServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    here: int | None,
    dev: bool,
    workers: dict[str, int | None],
    status: Status,
    said: str,
) -> None:
    _, client = await namespace(server, "limit")
    store = await store_with(tmp_path, shop=3, mail=2)
    limits = {worker: {"max_machines": limit} for worker, limit in workers.items()}
    with_state(monkeypatch, fleet_state({worker: {} for worker in workers}, {}, **limits))
    place = Installation(Settings(max_machines=here), dev=dev)
    found = await check_limit(client, store, place)
    assert found.status is status
    assert said in found.message
    assert (found.fix is not None) is (status is Status.WARNING)


async def test_the_polls_that_workers_need_are_compared_with_what_a_frontend_allows(
    server: TemporalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client = await namespace(server, "polls")
    store = await store_with(tmp_path, shop=8, mail=2, blog=1)
    with_state(monkeypatch, fleet_state({"a": {"shop": 7, "mail": 2}, "b": {"shop": 1}}, {"blog": 1}))
    found = await check_polls(client, store)
    assert found.status is Status.OK
    # Each of the workers is polled for by its own name; then shop twice, mail and blog once each.
    assert "6 times at once while all projects are idle, and up to 11 times" in found.message
    monkeypatch.setattr("cli.doctor.polls.DEFAULT_FRONTEND_POLLS", 10)
    found = await check_polls(client, store)
    assert (found.status, (found.fix or "").partition(",")[2][:38]) == (
        Status.WARNING,
        " set frontend.namespaceCount to 100 in",
    )


async def test_that_no_worker_answers_is_told(
    server: TemporalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client = await namespace(server, "silent")
    store = FolderStore(tmp_path / "store")
    write_skeleton(tmp_path, "shop")
    await deploy(tmp_path / "shop", store)

    async def unanswered(_fleet: FleetClient) -> FleetState:
        raise Unavailable("No worker has said who holds which Machines.")

    monkeypatch.setattr(FleetClient, "read_state", unanswered)
    found = await check_projects(client, store)
    assert (found.status, found.message) == (Status.FAILED, "No worker has said who holds which Machines.")
    assert (found.fix or "").startswith("Start `callboard worker`")
