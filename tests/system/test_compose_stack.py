"""What docker-compose.yml starts is started as plain processes, with its commands and environments, and executes a Run.

Where the file says that a service sees its files read-only, so does its process here, by bubblewrap. Before the store
is a proxy that enforces the policies of docs/store.md, as a bucket of AWS would. There are two workers in place of one,
one for each role, so that each has to do with its policy. The dev server stands in for Temporal on PostgreSQL, with the
file's dynamic configuration: that one comes as an image only.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from callboard.dev import ports
from tests.support.compose_file import PROGRAMS, Service, load
from tests.support.polling import until
from tests.support.repository import REPOSITORY
from tests.support.rest import Rest
from tests.support.s3_policies import PolicyProxy, documented, policy_proxy
from tests.support.webhook_receiver import receiver

pytestmark = pytest.mark.timeout(400)

COMPOSE = load()
SECRETS = {
    "CALLBOARD_API_KEYS": "a-key-that-opens-the-api",
    "CALLBOARD_SECRET_KEY": "a-key-that-seals-what-is-secret",
    "CALLBOARD_WEBHOOK_SECRETS": "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "ARTIFACTS_API_SECRET": "key-of-the-api",
    "ARTIFACTS_WORKER_SECRET": "key-of-the-worker",
    "ARTIFACTS_DEPLOY_SECRET": "key-of-deploys",
    "POSTGRES_PASSWORD": "of-a-database-that-is-not-here",
}
API = """
import os
from intuned_runtime import persistent_store

async def automation(page, params, **_):
    if "variable" in params:
        return os.environ[params["variable"]]
    await page.goto(params["url"])
    await persistent_store.set("last", params["url"])
    assert await persistent_store.get("last") == params["url"]
    return await page.title()
"""


@dataclass
class Composed:
    """The services that run."""

    rest: Rest
    viewer: str
    folder: Path
    logs: dict[str, Path]
    store: PolicyProxy
    store_port: int


def temporal_command(port: int) -> list[str]:
    """The dev server, tuned as the file tunes its Temporal."""
    command = [str(PROGRAMS / "temporal"), "server", "start-dev", "--headless", "--ip=127.0.0.1", f"--port={port}"]
    tuned: dict[str, Any] = yaml.safe_load(COMPOSE["configs"]["temporal"]["content"])
    for name, ((only),) in tuned.items():
        command.append(f"--dynamic-config-value={name}={json.dumps(only['value'])}")
    return command


@pytest.fixture(scope="module")
async def composed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Composed]:
    """All services, in the order in which they wait for each other."""
    folder = tmp_path_factory.mktemp("composed")
    names = (
        "temporal",
        "artifacts",
        "api",
        "viewer",
        "metrics of the api",
        "metrics of the worker",
        "health",
        "health of control",
    )
    free = ports.choose_ports(dict.fromkeys(names, 0))
    places = {name: folder / name for name in ("data", "worker", "control", "cache", "deploy", "projects")}
    for place in places.values():
        place.mkdir()
    moved = {
        "temporal:7233": f"127.0.0.1:{free['temporal']}",
        ":8333": f"127.0.0.1:{free['artifacts']}",
    }

    def service(name: str, **volumes: Path) -> Service:
        paths = {"data": "/data", "home": "/var/lib/callboard", "cache": "/tmp/rclone", "projects": "/projects"}
        held = {paths[label]: place for label, place in volumes.items()}
        return Service(name, secrets=SECRETS, moved=moved, volumes=held, folder=folder)

    here = {
        "HOME": str(folder),
        "CALLBOARD_HOST": "127.0.0.1",
        "CALLBOARD_PORT": str(free["api"]),
        "CALLBOARD_VIEWER_PORT": str(free["viewer"]),
        "CALLBOARD_EGRESS_ALLOW": "127.0.0.0/8",  # where receivers of tests are
    }
    for name in ("CALLBOARD_CHROMIUM", "PLAYWRIGHT_BROWSERS_PATH"):  # of this host; the image has a browser of its own
        if name in os.environ:
            here[name] = os.environ[name]
    browsers = Path("~/.cache/ms-playwright").expanduser()
    here.setdefault("PLAYWRIGHT_BROWSERS_PATH", str(browsers))

    policies = {f"callboard-{who}": documented(who, "callboard") for who in ("api", "control", "browser", "deploy")}
    async with AsyncExitStack() as running:
        proxied = policy_proxy(f"http://127.0.0.1:{free['artifacts']}", policies)
        store, port = await running.enter_async_context(proxied)
        moved = {"artifacts:8333": f"127.0.0.1:{port}", **moved}
        namespace = service("namespace")
        temporal = service("temporal")
        await running.enter_async_context(temporal.running(temporal_command(free["temporal"]), HOME=str(folder)))
        bucket = service("bucket", data=places["data"], cache=places["cache"])
        artifacts = service("artifacts", data=places["data"], cache=places["cache"])
        artifacts_command = artifacts.command("rclone")
        keys = f'{artifacts.environment["RCLONE_AUTH_KEY"]},"callboard-control,1","callboard-browser,2"'
        roles = {
            role: {"CALLBOARD_ROLE": role, "AWS_ACCESS_KEY_ID": f"callboard-{role}", "AWS_SECRET_ACCESS_KEY": secret}
            for role, secret in (("control", "1"), ("browser", "2"))
        }
        await bucket.complete(bucket.command("rclone"))
        await running.enter_async_context(artifacts.running(artifacts_command, HOME=str(folder), RCLONE_AUTH_KEY=keys))

        async def is_set_up() -> bool:
            try:
                await namespace.complete(namespace.command("callboard"), HOME=str(folder))
            except AssertionError:  # as `restart: on-failure` does
                return False
            return True

        await until(is_set_up, every=0.5)
        await until(lambda: _listens(free["artifacts"]))
        worker, control = (service("worker", home=places[place]) for place in ("worker", "control"))
        control.log = folder / "control.log"
        api = service("api")
        await running.enter_async_context(
            api.running(
                api.command("callboard"),
                **here,
                CALLBOARD_METRICS_ADDRESS=f"127.0.0.1:{free['metrics of the api']}",
            )
        )
        # The project is the first thing to be deployed, as in docs/install.md.
        project = places["projects"] / "hello"
        (project / "api").mkdir(parents=True)
        (project / "Intuned.json").write_text('{"projectName": "hello", "replication": {"maxConcurrentRequests": 1}}')
        (project / "api" / "title.py").write_text(API)
        deploy = service("deploy", home=places["deploy"], projects=places["projects"])
        assert deploy.definition["entrypoint"] == ["tini", "--", "callboard", "deploy"]
        shutil.copytree(REPOSITORY / "tests" / "system" / "projects" / "guarded", places["projects"] / "guarded")
        for name in ("hello", "guarded"):
            said = await deploy.complete(
                deploy.command("callboard", "deploy", f"/projects/{name}"),
                HOME=str(folder),
                CALLBOARD_DATA_DIR=str(places["deploy"]),
                CALLBOARD_MAX_MACHINES="100",  # so that it reads what other projects have
            )
            assert "s3://callboard" in said
        await running.enter_async_context(
            worker.running(
                worker.command("callboard"),
                **here,
                CALLBOARD_DATA_DIR=str(places["worker"]),
                CALLBOARD_METRICS_ADDRESS=f"127.0.0.1:{free['metrics of the worker']}",
                CALLBOARD_HEALTH_ADDRESS=f"127.0.0.1:{free['health']}",
                **roles["browser"],
            )
        )
        at = f"127.0.0.1:{free['health of control']}"
        folders = {"CALLBOARD_DATA_DIR": str(places["control"]), "CALLBOARD_HEALTH_ADDRESS": at}
        await running.enter_async_context(
            control.running(control.command("callboard"), **{**here, **folders, **roles["control"]})
        )
        url = f"http://127.0.0.1:{free['api']}"
        connecting = Rest.of(url, key=SECRETS["CALLBOARD_API_KEYS"], project="hello")
        rest = await running.enter_async_context(connecting)
        await until(rest.is_ready, every=0.1)
        logs = {each.log.stem: each.log for each in (api, worker, artifacts)}
        yield Composed(rest, f"http://127.0.0.1:{free['viewer']}", folder, logs, store, port)


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def test_a_run_is_executed(composed: Composed) -> None:
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed.")
    url = "data:text/html,<title>Composed</title>"
    run_id = await composed.rest.start("title", {"url": url})
    result = await composed.rest.result(run_id)
    assert (result["status"], result.get("result")) == ("completed", "Composed"), composed.logs["worker"].read_text()
    record = await composed.rest.request("GET", f"runs/{run_id}/attempts/1/trace")
    assert record.content.startswith(b"PK"), "the store has it"


async def test_the_policies_of_the_page_are_enough(composed: Composed) -> None:
    """For a Run with all that it may leave, a login, a Job, reruns, what `readyz` asks, and deploys."""
    rest = composed.rest
    url = "data:text/html,<title>Composed</title>" + "x" * 40_000  # parameters that are an artifact
    async with receiver() as inbox:
        run_id = await rest.start("title", {"url": url}, sink={"type": "webhook", "url": inbox.url})
        assert (await rest.result(run_id))["status"] == "completed"
        await inbox.until(1)
    await rest.post(f"runs/{run_id}/rerun", {})

    guarded = {"project": "guarded"}
    made = await rest.operation("create", "create", {"id": "anna", "parameters": {"password": "a-cookie"}}, **guarded)
    assert made["status"] == "done"
    assert (await rest.run("list-orders", authSession={"id": "anna"}, **guarded))["status"] == "completed"
    await rest.ask("DELETE", "auth-sessions/anna", **guarded)

    item = {"apiName": "title", "parameters": {"url": "data:text/html,<title>Job</title>"}}
    await rest.post("jobs", {"id": "job", "payload": [item], "configuration": {}})
    job_run = f"jobs/job/runs/{(await rest.post('jobs/job/trigger'))['jobRunId']}"
    shown = await rest.until(job_run, lambda told: told["jobRun"]["status"] != "PENDING", within=120)
    assert shown["jobRun"]["status"] == "SUCCESS"
    assert '"Job"' in (await rest.request("GET", f"{job_run}/results")).text
    await rest.ask("PUT", "jobs/job", {"payload": [item, item], "configuration": {}})
    bulk = await rest.post("runs/bulk/rerun", {"filter": {"jobId": "job"}})
    told = await rest.until(f"runs/bulk/{bulk['id']}", lambda told: told["status"] != "running", within=60)
    assert (told["status"], told["matched"], told["done"]) == ("completed", 1, 1)
    assert await rest.is_ready()

    assert composed.store.denied == [], "nothing was refused"
    used = composed.store.allowed
    assert ("callboard-control", "s3:PutObject", "audit") in used
    for who, prefix in (("api", "check"), ("browser", "values"), ("deploy", "projects"), ("api", "jobs")):
        assert (f"callboard-{who}", "s3:PutObject", prefix) in used


async def test_a_worker_cannot_write_what_workers_execute(composed: Composed) -> None:
    place = f"http://127.0.0.1:{composed.store_port}/callboard/projects/hello/current.json"
    async with httpx.AsyncClient(trust_env=False) as http:
        for who in ("api", "browser"):
            signed = {
                "authorization": f"AWS4-HMAC-SHA256 Credential=callboard-{who}/20260101/us-east-1/s3/aws4_request"
            }
            assert (await http.put(place, content=b"{}", headers=signed)).status_code == 403
    assert composed.store.denied.pop()[:2] == ("callboard-browser", "s3:PutObject")
    composed.store.denied.clear()


async def test_variables_reach_user_code_though_its_worker_cannot_read_them(composed: Composed) -> None:
    rest, large = composed.rest, "x" * 5_000  # which is an artifact of the Run
    for name, value, shown in (("SHOP_KEY", "a-word-for-user-code", "***"), ("SHOP_TEXT", large, large)):
        await rest.ask("PUT", f"env-vars/{name}", {"value": value, "secret": shown != value})
        assert (await rest.run("title", {"variable": name}))["result"] == shown
    assert composed.store.denied == []
    who_read = {who for who, _, prefix in composed.store.allowed if prefix == "variables"}
    assert who_read == {"callboard-api", "callboard-control"}
    store = f"http://127.0.0.1:{composed.store_port}/callboard"
    signed = {"authorization": "AWS4-HMAC-SHA256 Credential=callboard-browser/20260101/us-east-1/s3/aws4_request"}
    async with httpx.AsyncClient(trust_env=False, headers=signed) as http:
        for place in (
            "variables/projects/hello/SHOP_KEY.sealed",
            "keys/x/key.json",
            "ended-sessions/x",
            "audit/x.json",
        ):
            prefix = place.partition("/")[0]
            answers = [await http.request(method, f"{store}/{place}") for method in ("GET", "PUT", "DELETE")]
            lists = [f"?list-type=2&prefix={prefix}%2F", "?list-type=2&prefix=", "?list-type=2"]
            answers += [await http.get(f"{store}{query}") for query in lists]
            assert {answer.status_code for answer in answers} == {403}
    composed.store.denied.clear()


async def test_a_sign_out_is_kept_where_only_the_api_can_write(composed: Composed) -> None:
    async with httpx.AsyncClient(base_url=composed.rest.http.base_url, trust_env=False) as pages:
        await pages.post("/sign-in", data={"key": SECRETS["CALLBOARD_API_KEYS"]})
        copied = pages.cookies["callboard-session"]
        token = re.search(r'name="token" value="([0-9a-f]+)"', (await pages.get("/projects")).text)
        assert token
        assert (await pages.post("/sign-out", data={"token": token[1]})).status_code == 303
        pages.cookies.set("callboard-session", copied)
        assert (await pages.get("/projects")).headers["location"] == "/sign-in?next=%2Fprojects"
    assert composed.store.denied == []
    assert {(who, action) for who, action, prefix in composed.store.allowed if prefix == "ended-sessions"} == {
        ("callboard-api", "s3:GetObject"),
        ("callboard-api", "s3:PutObject"),
    }


async def test_the_viewer_has_an_origin_of_its_own(composed: Composed) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"{composed.viewer}/index.html")
    assert answer.status_code == 200, answer.text
    assert "Playwright" in answer.text
