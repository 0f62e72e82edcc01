"""What Runs left goes when it is old enough, and nothing else does: with a real Temporal, a folder and a bucket."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment
from temporalio.worker import Worker

from activities import heartbeat
from activities.artifact_sweeper import ArtifactSweeper
from activities.artifacts import ArtifactActivities
from activities.attempts.attempt_artifacts import AttemptRecords
from activities.version_sweeper import VersionSweeper
from callboard.projects.deploy import deploy
from callboard.projects.manifest import OwnEnvironment, read_manifest
from callboard.projects.version_history import version_of_record
from callboard.schemas.errors import ConfigurationError, StoreError, Unavailable
from callboard.schemas.rest.audit import AuditActor, AuditEntry
from callboard.schemas.workflow.sweep import SweepInput, SweepPart, SweepPartResult, SweepTotals
from callboard.settings import Settings
from callboard.storage import object_keys
from callboard.storage.audit_log import AuditLog
from callboard.storage.factory import open_store
from callboard.storage.folder import FolderStore
from callboard.storage.store import Entry, Store
from callboard.temporal.client import connect
from callboard.temporal.open_runs import OpenRuns
from callboard.temporal.sweep_schedule import Sweeps
from tests.support.constants import AUDIT_RETENTION, SOMEBODY
from tests.support.files import write_files
from tests.support.polling import until
from tests.support.present import present
from tests.support.run_stage import HeldAttempt, RunStage, completed, run_input, start_run
from tests.support.s3_server import BUCKET, S3Server, s3_server
from workflows.sweep import SweepWorkflow


@pytest.fixture(scope="module")
async def s3(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[S3Server]:
    async with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    if request.param == "folder":
        return open_store(str(tmp_path / "artifacts"))
    server: S3Server = request.getfixturevalue("s3")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return open_store(f"s3://{BUCKET}/{uuid.uuid4().hex}", endpoint=server.endpoint)


def soon() -> datetime:
    """All that has been written so far is older."""
    return datetime.now(UTC) + timedelta(seconds=1)


async def left(store: Store, prefix: str = "") -> list[str]:
    return [key async for key in store.list(prefix)]


async def leave(store: Store, *runs: str, project: str = "shop") -> list[str]:
    """What each of these Runs leaves."""
    left = [
        object_keys.attempt(project, run, number, name)
        for run in runs
        for number in (1, 2)
        for name in ("attempt.json", "result.json")
    ]
    left += [object_keys.parameters(project, run, "d" * 8) for run in runs]
    for key in left:
        await store.put(key, b"{}")
    return left


async def written_after(store: Store, key: str, moment: datetime) -> None:
    """Write it, so that the store says that it was after this moment (it may know seconds only)."""
    async with asyncio.timeout(30):
        while True:
            await store.put(key, b"{}")
            if all([entry.modified >= moment async for entry in store.entries(key)]):
                return
            await asyncio.sleep(0.05)


async def sweep(
    client: Client,
    store: Store,
    before: datetime,
    *,
    after: str = "",
    known: SweepPartResult | None = None,
    on_heartbeat: Callable[..., None] = print,
    **options: Any,
) -> SweepPartResult:
    """One part of a sweep; with `known`, as one that goes on where another was lost."""
    environment = ActivityEnvironment()
    environment.on_heartbeat = on_heartbeat
    details = [known.model_dump(mode="json")] if known else []
    environment.info = dataclasses.replace(environment.info, heartbeat_details=details)
    part = ArtifactActivities(
        store, AttemptRecords(store, client.data_converter), ArtifactSweeper(client, store, AUDIT_RETENTION, **options)
    )
    found = await environment.run(part.sweep_artifacts, SweepPart(before=before, after=after))
    return found.model_copy(update={"totals": found.totals.model_copy(update={"stored": {}})})


async def test_what_a_run_left_that_temporal_does_not_know_goes_once_it_is_old(client: Client, store: Store) -> None:
    files = await leave(store, "one", "one-v1", "two")
    assert await sweep(client, store, datetime.now(UTC) - timedelta(hours=1)) == SweepPartResult()
    assert len(await left(store)) == len(files)
    assert await sweep(client, store, soon()) == SweepPartResult(totals=SweepTotals(runs=3, artifacts=len(files)))
    assert await left(store) == []
    assert await sweep(client, store, soon()) == SweepPartResult()


async def test_an_upload_that_nobody_has_deployed_goes_as_a_whole_once_it_is_old(client: Client, store: Store) -> None:
    for upload in ("20261124T091200000000-5fe1c03a", "20261125T091200000000-5fe1c03b"):
        await store.put(object_keys.upload_bundle("shop", upload), b"")
    await written_after(store, object_keys.upload_build("shop", upload), moment := soon())
    assert (await sweep(client, store, moment)).totals == SweepTotals(runs=0, artifacts=1)
    assert await left(store) == sorted(
        [object_keys.upload_bundle("shop", upload), object_keys.upload_build("shop", upload)]
    )


async def test_entries_of_the_audit_go_by_whole_days_and_leave_what_is_kept(client: Client, store: Store) -> None:
    now = datetime.now(UTC)
    kept = [await recorded(store, now - timedelta(days=days)) for days in (0, 364)]
    for days in (366, 367, 500):
        await recorded(store, now - timedelta(days=days))
    assert await sweep(client, store, now - timedelta(hours=1)) == SweepPartResult()
    assert sorted(await left(store, object_keys.AUDIT)) == sorted(kept)


async def test_an_ended_session_is_forgotten_once_it_would_have_ended_by_itself(client: Client, store: Store) -> None:
    now = datetime.now(UTC)
    over, just_over, good = (
        object_keys.ended_session(int((now + timedelta(minutes=minutes)).timestamp()), "n" * 22)
        for minutes in (-61, -50, 60)
    )
    for key in (over, just_over, good):
        await store.put(key, b"")
    assert await sweep(client, store, soon()) == SweepPartResult()
    assert await left(store, object_keys.ENDED_SESSIONS) == [just_over, good], "the clock of an api may be behind"


async def recorded(store: Store, time: datetime) -> str:
    """Write an entry of that time; its key."""
    before = set(await left(store, object_keys.AUDIT))
    entry = AuditEntry(
        time=time,
        action="run.start",
        actor=AuditActor(id=SOMEBODY.id, name=SOMEBODY.name, signed_in=False),
        project="shop",
        ids={},
        status=201,
        refused_action=None,
        missing_scope=None,
        client=None,
        request=None,
        correlation_id="0",
    )
    await AuditLog(store).write(entry)
    (key,) = set(await left(store, object_keys.AUDIT)) - before
    return key


async def test_a_run_in_flight_keeps_its_artifacts_and_ages_from_its_end(
    client: Client, store: Store, stage: RunStage
) -> None:
    files = await leave(store, stage.run_id, project=stage.project)
    held = HeldAttempt(stage)
    await stage.serve(held)
    await stage.start()
    await held.began.wait()
    in_flight = soon()
    assert await sweep(client, store, in_flight) == SweepPartResult()
    while datetime.now(UTC) < in_flight:
        await asyncio.sleep(0.05)
    held.end(completed())
    await stage.ended()
    assert await sweep(client, store, in_flight) == SweepPartResult(), (
        "its artifacts are older than that, its end is not"
    )
    assert len(await left(store)) == len(files)
    assert (await sweep(client, store, soon())).totals == SweepTotals(runs=1, artifacts=len(files))
    assert await left(store) == []


async def test_the_newest_artifact_of_a_run_keeps_the_others(client: Client, store: Store) -> None:
    files = await leave(store, "one")
    moment = soon()
    await written_after(store, object_keys.delivery_try("shop", "one", "sink", "20260101T000000.000000Z"), moment)
    assert await sweep(client, store, moment) == SweepPartResult()
    assert len(await left(store)) == len(files) + 1


async def test_nothing_but_what_runs_left_is_ever_touched(client: Client, store: Store) -> None:
    others = [
        object_keys.current_version("shop"),
        object_keys.manifest("shop", "v"),
        object_keys.bundle("shop", "v"),
        object_keys.environment("shop", "d"),
        object_keys.auth_session_state("shop", "anna", "t"),
        object_keys.auth_session_parameters("shop", "~one", "one"),
        object_keys.persistent_value("shop", "k"),
        "runs/README",
        "runs/shop/README",
        "runs/shop/no run/README",
        "runs-of-others/shop/one/file",
    ]
    for key in others:
        await store.put(key, b"{}")
    await leave(store, "one")
    await sweep(client, store, soon())
    assert await left(store) == sorted(others)


async def test_a_part_ends_after_so_many_runs_and_the_next_goes_on_behind_it(client: Client, store: Store) -> None:
    runs = [f"run-{number}" for number in range(5)]
    await leave(store, *runs)
    before = soon()
    after: str | None = ""
    seen: list[SweepTotals] = []
    while after is not None:
        swept = await sweep(client, store, before, after=after, max_runs=2)
        seen.append(swept.totals)
        after = swept.after
        assert {key.split("/")[2] for key in await left(store)} == set(runs[2 * len(seen) :])
    assert [tally.runs for tally in seen] == [2, 2, 1]


async def test_a_part_ends_after_a_time_and_the_next_goes_on_behind_it(client: Client, store: Store) -> None:
    await leave(store, "one", "two")
    before = soon()
    first = await sweep(client, store, before, max_duration=timedelta())
    assert first.after == "runs/shop/one0"
    assert {key.split("/")[2] for key in await left(store)} == {"two"}


async def test_one_that_was_lost_is_gone_on_with_where_it_had_come_to(client: Client, store: Store) -> None:
    await leave(store, "one", "two")
    known = SweepPartResult(after="runs/shop/one0", totals=SweepTotals(runs=7, artifacts=70))
    swept = await sweep(client, store, soon(), known=known)
    assert swept == SweepPartResult(totals=SweepTotals(runs=8, artifacts=75))
    assert {key.split("/")[2] for key in await left(store)} == {"one"}


async def test_it_tells_how_far_it_has_come_while_it_works(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "FIRST_HEARTBEAT", 0.0)
    monkeypatch.setattr(heartbeat, "HEARTBEAT_INTERVAL", 0.0)
    store = FolderStore(tmp_path)
    await leave(store, *(f"run-{number}" for number in range(9)))
    beats: list[SweepPartResult] = []
    tidy = store.tidy

    async def tidies(*arguments: Any) -> None:
        told = len(beats)
        await until(lambda: len(beats) > told)
        await tidy(*arguments)

    monkeypatch.setattr(store, "tidy", tidies)
    await sweep(client, store, soon(), on_heartbeat=beats.append)
    assert [beat.totals.runs for beat in beats] == sorted(beat.totals.runs for beat in beats)
    assert beats[-1].totals == SweepTotals(runs=9, artifacts=45)


async def test_what_stays_is_counted_by_project_and_kind(client: Client, store: Store) -> None:
    old = await leave(store, "old", project="counted")
    before = soon()
    await written_after(store, object_keys.record("counted", "old-kept", 1), before)
    await store.put(object_keys.trace("counted", "old-kept", 1), b"12345")
    await store.put(object_keys.auth_session_state("another", "anna", "t"), b"123")
    worker = Worker(
        client,
        task_queue=f"sweep-{uuid.uuid4().hex}",
        workflows=[SweepWorkflow],
        activities=[
            ArtifactActivities(
                store,
                AttemptRecords(store, client.data_converter),
                ArtifactSweeper(client, store, AUDIT_RETENTION, max_runs=1),
            ).sweep_artifacts
        ],
    )
    async with worker:
        await client.execute_workflow(
            SweepWorkflow.run,
            SweepInput(older_than=timedelta(hours=1), before=before),
            id=worker.task_queue,
            task_queue=worker.task_queue,
        )
    assert not set(old) & set(await left(store))
    counted = {"counted": {"runs": (1, 2), "traces": (1, 5)}, "another": {"logins": (1, 3)}}

    async def is_found() -> bool:
        report = await Sweeps(client).last()
        return report is not None and report.totals.stored == counted

    await until(is_found)


async def test_sweeps_side_by_side_do_not_disturb_each_other(client: Client, store: Store) -> None:
    files = await leave(store, *(f"run-{number}" for number in range(6)))
    before = soon()
    came = await asyncio.gather(*(sweep(client, store, before) for _ in range(3)))
    assert await left(store) == []
    assert all(swept.after is None and not swept.totals.failed for swept in came)
    assert sum(swept.totals.artifacts for swept in came) >= len(files)


class Stubborn(FolderStore):
    """Refuses to remove what one Run left."""

    async def delete(self, key: str) -> None:
        if "/stubborn/" in key:
            raise StoreError(f"The store could not remove {key}: Access Denied.")
        await super().delete(key)


async def test_a_run_that_cannot_be_removed_holds_up_no_other_and_is_told(client: Client, tmp_path: Path) -> None:
    store = Stubborn(tmp_path)
    files = await leave(store, "a", "stubborn", "z")
    tally = (await sweep(client, store, soon())).totals
    assert (tally.runs, tally.artifacts, tally.failed) == (2, len(files) - 5, 1)
    assert "Access Denied" in str(tally.failure)
    assert {key.split("/")[2] for key in await left(store)} == {"stubborn"}


class BegunAnew(FolderStore):
    """Somebody starts the Run once more, with its Idempotency-Key, when the sweep has found that it is not known."""

    async def entries(self, prefix: str, *, after: str = "") -> AsyncIterator[Entry]:
        if prefix == object_keys.run("shop", "one"):
            await self.put(object_keys.parameters("shop", "one", "d" * 8), b"new")
        async for entry in super().entries(prefix, after=after):
            yield entry


async def test_a_run_that_is_begun_anew_meanwhile_keeps_what_it_has(client: Client, tmp_path: Path) -> None:
    store = BegunAnew(tmp_path)
    files = await leave(store, "one")
    before = datetime.now(UTC)
    assert await sweep(client, store, before) == SweepPartResult()
    assert len(await left(store)) == len(files)


@pytest.mark.parametrize(
    ("away", "namespace", "error"),
    [(True, "default", Unavailable), (False, "not-there", ConfigurationError)],
    ids=["away", "namespace-gone"],
)
async def test_nothing_goes_while_temporal_cannot_say_who_is_in_flight(
    client: Client, tmp_path: Path, away: bool, namespace: str, error: type[Exception]
) -> None:
    store = FolderStore(tmp_path)
    files = await leave(store, "one")
    address = "127.0.0.1:9" if away else client.service_client.config.target_host
    settings = Settings(temporal_address=address, temporal_namespace=namespace)
    elsewhere = await connect(settings, lazy=True, retry_timeout=timedelta(seconds=1))
    with pytest.raises(error):
        await sweep(elsewhere, store, soon())
    assert len(await left(store)) == len(files)


async def test_what_a_killed_writer_left_half_written_goes_too(client: Client, tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    half = tmp_path / "runs" / "shop" / "one" / "attempts" / "1" / ".tmp-half"
    half.parent.mkdir(parents=True)
    half.touch()
    await sweep(client, store, datetime.now(UTC) - timedelta(hours=1))
    assert half.exists()
    await sweep(client, store, soon())
    assert list((tmp_path / "runs").iterdir()) == []


async def test_old_versions_go_unless_they_are_deployed_or_executed(
    client: Client, store: Store, name: str, tmp_path: Path
) -> None:
    async def deployed(code: str, *, packages: str = "") -> str:
        files = {"Intuned.json": f'{{"projectName": "{name}"}}', "api/list.py": code}
        version = (await deploy(write_files(tmp_path / "project", files), store)).version
        if packages:
            manifest = present(await read_manifest(store, name, version))
            own = OwnEnvironment(source="requirements.txt", declaration=packages)
            await store.put(
                object_keys.manifest(name, version), manifest.model_copy(update={"environment": own}).to_bytes()
            )
            await store.put(object_keys.environment(name, packages), b"")
        return version

    await deployed("a = 1", packages="0" * 16)
    executed = await deployed("b = 2", packages="1" * 16)
    current = await deployed("c = 3")
    await start_run(client, run_input(name, version=executed), f"{name}-run", f"nobody-{name}")
    await until(partial(OpenRuns(client).versions, name), true=lambda versions: versions == {executed})

    def sweeper(retention: timedelta) -> VersionSweeper:
        return VersionSweeper(store, OpenRuns(client), retention)

    before = await left(store)
    assert await sweeper(timedelta(hours=1)).sweep() == SweepTotals()
    assert await left(store) == before
    assert await sweeper(-timedelta(seconds=2)).sweep() == SweepTotals(versions=1)
    versions = {key.split("/")[3] for key in await left(store, object_keys.versions(name))}
    assert versions == {executed, current}
    assert {version_of_record(key) for key in await left(store, object_keys.deploy_records(name))} == versions
    assert await left(store, object_keys.environments(name)) == [object_keys.environment(name, "1" * 16)]
    await client.get_workflow_handle(f"{name}-run").terminate()
    await until(partial(OpenRuns(client).versions, name), true=lambda versions: not versions)
    assert await sweeper(-timedelta(seconds=2)).sweep() == SweepTotals(versions=1)
    assert {key.split("/")[3] for key in await left(store, object_keys.versions(name))} == {current}
