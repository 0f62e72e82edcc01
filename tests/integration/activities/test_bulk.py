"""Many Runs are canceled, or started again, each once, whatever fails meanwhile."""

from __future__ import annotations

import json
import logging
import secrets
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.worker import Worker

from activities.bulk import BulkActivities
from callboard.projects.catalog import Catalog
from callboard.projects.deploy import deploy
from callboard.schemas.errors import Conflict, NotFound
from callboard.schemas.rest.bulk import BulkStatus
from callboard.schemas.workflow import names
from callboard.schemas.workflow.actor import Actor
from callboard.schemas.workflow.bulk import BulkAction, BulkInput, BulkRequester, BulkView
from callboard.schemas.workflow.run import RunInput
from callboard.security.keyring import KeyRing
from callboard.security.sealed_proxies import open_proxy, seal_proxy
from callboard.settings import Settings
from callboard.storage import object_keys
from callboard.storage.audit_log import AuditFilter, AuditLog
from callboard.temporal.bulks import Bulk, Bulks
from callboard.temporal.open_runs import OpenRuns
from callboard.temporal.rpc_errors import unless_missing
from callboard.temporal.run_queries import RunQueries
from callboard.temporal.runs import Runs
from tests.support.faulty_store import FaultyStore
from tests.support.files import write_files
from tests.support.polling import until
from tests.support.present import present
from tests.support.run_stage import run_input
from tests.support.stage import IDENTITY, WORKSPACE
from workflows.bulk import BulkWorkflow

SECRET = "a-secret-key-of-this-test"
ANNA = Actor(id="Zk3vT9qLm2Xa", name="anna")
PROXY = "http://anna:hunter2@proxy.example.com:3128"


@dataclass
class Installation:
    """A project that is deployed, its Runs, which nobody executes, and a worker for bulks."""

    client: Client
    project: str
    folder: Path
    store: FaultyStore
    runs: Runs
    bulks: Bulks
    started: list[str] = field(default_factory=list[str])

    async def deploy(self, **settings: Any) -> None:
        text = json.dumps({"projectName": self.project, **settings})
        await deploy(write_files(self.folder, {"Intuned.json": text, "api/list.py": "a = 1"}), self.store)

    async def start(self, **fields: Any) -> str:
        run_id = secrets.token_hex(8)
        if "proxy" in fields:
            ring = KeyRing([SECRET])
            fields["proxy"] = seal_proxy(fields["proxy"], ring, workspace=WORKSPACE, project=self.project, owner=run_id)
        self.started.append(run_id)
        await self.runs.start(run_id, run_input(self.project, **fields), fingerprint="")
        return run_id

    async def ask(self, action: BulkAction, run_ids: Sequence[str], bulk_id: str = "", fingerprint: str = "") -> str:
        bulk_id = bulk_id or secrets.token_hex(8)
        requester = BulkRequester(
            key=ANNA, signed_in=True, client="203.0.113.7", request="POST /bulk", correlation_id="c"
        )
        view = BulkView(action=action, matched=len(run_ids), created_at=datetime.now(UTC), requested_by=ANNA)
        await self.bulks.start(
            BulkInput(
                workspace=WORKSPACE,
                project=self.project,
                bulk_id=bulk_id,
                requester=requester,
                fingerprint=fingerprint,
                run_ids=tuple(run_ids),
                view=view,
            )
        )
        return bulk_id

    async def get(self, bulk_id: str) -> Bulk:
        return await self.bulks.get(WORKSPACE, self.project, bulk_id)

    async def end(self, bulk_id: str) -> Bulk:
        return await until(lambda: self.get(bulk_id), true=lambda bulk: bulk.status is not BulkStatus.RUNNING)

    async def reruns(self, run_id: str) -> list[str]:
        prefix = object_keys.reruns(self.project, run_id)
        return [key.removeprefix(prefix).removesuffix(".json") async for key in self.store.list(prefix)]

    async def audited(self) -> list[dict[str, str]]:
        page = await AuditLog(self.store).list_page(AuditFilter(), limit=200)
        assert {(each.actor.id, each.client) for each in page.entries} <= {(ANNA.id, "203.0.113.7")}
        return [{"action": each.action, "status": str(each.status), **each.ids} for each in page.entries]


@pytest.fixture
async def here(client: Client, name: str, tmp_path: Path) -> AsyncGenerator[Installation]:
    store = FaultyStore(tmp_path / "artifacts")
    settings = Settings(secret_key=[SecretStr(SECRET)])
    activities = BulkActivities.of(settings, client, store, Catalog(store, max_age=timedelta()))
    worker = Worker(
        client,
        task_queue=names.CALLBOARD_QUEUE,
        workflows=[BulkWorkflow],
        activities=[activities.act_on_runs],
        identity=IDENTITY,
    )
    runs = Runs(client)
    installation = Installation(client, name, tmp_path / "project", store, runs, Bulks(client))
    await installation.deploy()
    async with worker:
        yield installation
        for run_id in installation.started:
            for each in (run_id, *await installation.reruns(run_id)):
                await unless_missing(client.get_workflow_handle(each).terminate())
    await runs.close()
    await activities.services.runs.close()


async def test_each_run_is_started_again_once_whatever_fails_meanwhile(here: Installation) -> None:
    run_ids = [await here.start(proxy=PROXY, tags=("nightly",)) for _ in range(12)]
    tries = Counter[str]()

    def refuse(key: str) -> bool:
        starts = "/reruns/" in key
        tries["reruns"] += starts
        return starts and tries["reruns"] in (4, 5, 9)

    here.store.refuse = refuse
    ended = await here.end(await here.ask(BulkAction.RERUN, [*run_ids[:6], "gone", *run_ids[6:]]))
    assert tries["reruns"] > len(run_ids), "pieces were tried again"
    assert (ended.status, ended.view.done, ended.view.failed) == (BulkStatus.COMPLETED, 12, 1)
    assert [(each.run_id, each.message) for each in ended.failures] == [("gone", "There is no such Run.")]
    reruns = {run_id: await here.reruns(run_id) for run_id in run_ids}
    assert {len(each) for each in reruns.values()} == {1}
    same = {"action": "run.rerun", "bulkId": ended.id}
    entries = [{**same, "status": "202", "runId": new, "rerunOf": run_id} for run_id, (new,) in reruns.items()]
    entries.append({**same, "status": "404", "rerunOf": "gone"})
    audited = await here.audited()
    assert len(audited) == len(entries)
    assert all(entry in audited for entry in entries)
    (again,) = reruns[run_ids[0]]
    details = await RunQueries(here.client).get_details(WORKSPACE, here.project, again)
    assert isinstance(details.input, RunInput)
    described = await here.client.get_workflow_handle(again).describe()
    priority = described.raw_description.workflow_execution_info.priority
    assert (priority.priority_key, priority.fairness_key) == (names.PRIORITY_BATCH, ended.id), "others go first"
    assert (details.rerun_of, details.input.tags, details.input.started_by) == (run_ids[0], ("nightly",), ANNA)
    proxy = open_proxy(
        present(details.input.proxy), KeyRing([SECRET]), workspace=WORKSPACE, project=here.project, carrier=again
    )
    assert proxy == PROXY, "sealed for the new Run"


async def test_runs_are_canceled_and_those_that_had_ended_are_told(here: Installation) -> None:
    first, ended_before, last = [await here.start() for _ in range(3)]
    await here.client.get_workflow_handle(ended_before).terminate()
    ended = await here.end(await here.ask(BulkAction.CANCEL, [first, ended_before, last]))
    assert (ended.status, ended.view.done, ended.view.failed) == (BulkStatus.COMPLETED, 2, 1)
    assert [(each.run_id, each.message) for each in ended.failures] == [
        (ended_before, "It had ended before: canceled.")
    ]
    for run_id in (first, last):
        events = (await here.client.get_workflow_handle(run_id).fetch_history()).events
        causes = [each.workflow_execution_cancel_requested_event_attributes.cause for each in events]
        assert ANNA.cancel_reason in causes
    audited = {(each["runId"], each["status"]) for each in await here.audited()}
    assert audited == {(first, "202"), (ended_before, "409"), (last, "202")}


async def test_a_store_that_takes_no_entry_holds_up_no_change(
    here: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run_ids = [await here.start() for _ in range(3)]
    here.store.refuse = lambda key: key.startswith("audit/")
    ended = await here.end(await here.ask(BulkAction.CANCEL, run_ids))
    assert (ended.status, ended.view.done, ended.view.failed) == (BulkStatus.COMPLETED, 3, 0)
    entries = [vars(record)["audit"] for record in caplog.records if "audit" in vars(record)]
    assert [each["ids"]["runId"] for each in entries] == run_ids, "the log has them"
    assert sum("in the log only" in record.getMessage() for record in caplog.records) == 3


async def test_a_rerun_leaves_half_of_the_queue_to_others_and_can_be_aborted_while_it_waits(here: Installation) -> None:
    await here.deploy(replication={"maxQueued": 4})
    run_ids = [await here.start() for _ in range(2)]
    await until(lambda: RunQueries(here.client).count_waiting(here.project), true=lambda waiting: waiting == 2)
    bulk_id = await here.ask(BulkAction.RERUN, run_ids)
    handle = here.client.get_workflow_handle(names.bulk_workflow_id(here.project, bulk_id))

    async def waits() -> bool:
        events = (await handle.fetch_history()).events
        return any(each.event_type == EventType.EVENT_TYPE_TIMER_STARTED for each in events)

    await until(waits)
    await here.bulks.abort(WORKSPACE, here.project, bulk_id, by=ANNA)
    aborted = await here.end(bulk_id)
    assert (aborted.status, aborted.view.done, aborted.failures) == (BulkStatus.ABORTED, 0, ())
    await here.bulks.abort(WORKSPACE, here.project, bulk_id, by=ANNA)
    assert [await here.reruns(run_id) for run_id in run_ids] == [[], []]


async def test_what_the_project_does_not_allow_fails_each_run_with_the_reason(here: Installation) -> None:
    run_ids = [await here.start(), await here.start(api="gone")]
    ended = await here.end(await here.ask(BulkAction.RERUN, run_ids))
    assert [each.message for each in ended.failures] == [f"Project {here.project} has no API 'gone'."]
    await here.deploy(apiAccess={"enabled": False})
    ended = await here.end(await here.ask(BulkAction.RERUN, run_ids))
    assert ended.view.failed == 2
    assert "apiAccess.enabled" in ended.failures[0].message


async def test_a_bulk_is_there_for_its_own_project_and_workspace_only(here: Installation) -> None:
    bulk_id = await here.ask(BulkAction.CANCEL, [await here.start()])
    for workspace, project, name in (
        ("11111111-1111-1111-1111-111111111111", here.project, bulk_id),
        (WORKSPACE, "other", bulk_id),
        (WORKSPACE, here.project, f"{bulk_id}x"),
        (WORKSPACE, "bulk", f"{here.project}:{bulk_id}"),
    ):
        with pytest.raises(NotFound):
            await here.bulks.get(workspace, project, name)
        with pytest.raises(NotFound):
            await here.bulks.abort(workspace, project, name, by=ANNA)
    await here.end(bulk_id)
    await here.ask(BulkAction.CANCEL, ["another"], bulk_id)
    assert (await here.get(bulk_id)).view.done == 1, "it is the one that was there"
    with pytest.raises(Conflict):
        await here.ask(BulkAction.CANCEL, ["another"], bulk_id, "another body")


async def test_a_project_that_is_deleted_ends_its_bulks(here: Installation) -> None:
    await here.deploy(replication={"maxQueued": 1})
    run_ids = [await here.start() for _ in range(2)]
    await until(lambda: RunQueries(here.client).count_waiting(here.project), true=lambda waiting: waiting == 2)
    bulk_id = await here.ask(BulkAction.RERUN, run_ids)

    async def ended() -> bool:
        await OpenRuns(here.client).end_all(here.project)
        return (await here.get(bulk_id)).status is BulkStatus.ABORTED

    await until(ended)
    here.started.clear()
