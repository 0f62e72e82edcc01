"""The shapes of deploys. Each is played on a server that skips time; its history is recorded under its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import activity
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle, WorkflowHistory
from temporalio.exceptions import ApplicationError

from callboard.schemas.workflow import names
from callboard.schemas.workflow.deploy import BuildInput, CheckedUpload, DeployInput, DeployView, PublishedVersion
from callboard.schemas.workflow.resources import AppliedResources, ApplyResourcesInput
from tests.support.run_stage import WORKSPACE, staged_worker
from workflows.apply_resources import ApplyResourcesWorkflow
from workflows.deploy import DeployWorkflow

VERSION = "0123456789abcdef"
REFUSED = "Intuned.json: replication: expected an object, found 3"
AWAY = "The artifact store could not write what it was given."
_CHECKED = CheckedUpload(version=VERSION)
_PUBLISHED = PublishedVersion(version=VERSION, deployed_at=datetime(2026, 1, 2, tzinfo=UTC), has_resources=False)
_AWAY = ApplicationError(AWAY, type="StoreError")


@dataclass(frozen=True)
class Deploying:
    """What the activities of a deploy come to: a result, or errors that come first."""

    check: Any = _CHECKED
    away: int = 0
    """How often the store is away before a version can be published."""
    next_try: timedelta | None = None
    """How long it then says to wait; None: as the workflow has it."""
    published: PublishedVersion = _PUBLISHED
    remove: Exception | None = None


DEPLOYS: dict[str, Deploying] = {
    "deploy-completed": Deploying(),
    "deploy-of-jobs": Deploying(published=_PUBLISHED.model_copy(update={"has_resources": True})),
    "deploy-refused": Deploying(check=ApplicationError(REFUSED, type="ProjectRefused", non_retryable=True)),
    "deploy-store-away-for-a-while": Deploying(away=3, remove=_AWAY),
    "deploy-store-away-for-long": Deploying(away=1, next_try=timedelta(hours=1)),
}


@dataclass
class Deployed:
    """A deploy that has ended."""

    handle: WorkflowHandle[Any, Any]
    view: DeployView
    """What its memo says."""
    asked: list[str]
    """The activities that were executed, with their repetitions."""
    failure: str | None
    first: WorkflowHistory


def _activities(deploying: Deploying, asked: list[str]) -> dict[str, Callable[..., Any]]:
    @activity.defn(name=names.CHECK_UPLOAD)
    async def check(input: DeployInput) -> CheckedUpload:
        asked.append("check")
        if isinstance(deploying.check, Exception):
            raise deploying.check
        assert input.upload == "upload-1"
        return deploying.check

    @activity.defn(name=names.BUILD_VERSION)
    async def build(input: BuildInput) -> None:
        asked.append("build")
        assert input.version == VERSION

    @activity.defn(name=names.PUBLISH_UPLOAD)
    async def publish(input: DeployInput) -> PublishedVersion:
        asked.append("publish")
        if asked.count("publish") <= deploying.away:
            raise ApplicationError(AWAY, type="StoreError", next_retry_delay=deploying.next_try)
        return deploying.published

    @activity.defn(name=names.REMOVE_UPLOAD)
    async def remove(input: DeployInput) -> None:
        asked.append("remove")
        if deploying.remove is not None:
            raise deploying.remove

    @activity.defn(name=names.UPDATE_RESOURCES)
    async def update(input: ApplyResourcesInput) -> AppliedResources:
        return AppliedResources(version=VERSION)

    return {each.__name__: each for each in (check, build, publish, remove, update)}


async def played_deploy(client: Client, shape: str) -> Deployed:
    """Play a shape to its end."""
    deploying, asked = DEPLOYS[shape], list[str]()
    activities = _activities(deploying, asked)
    build = activities.pop("build")
    queue = f"{names.CALLBOARD_QUEUE}-{shape}"
    workflows = [DeployWorkflow, ApplyResourcesWorkflow]
    async with (
        staged_worker(client, queue, list(activities.values()), workflows=workflows),
        staged_worker(client, names.BUILDS_QUEUE, [build]),
    ):
        start = DeployInput(workspace=WORKSPACE, project="shop", upload="upload-1", by="anna")
        handle = await client.start_workflow(DeployWorkflow.run, start, id=shape, task_queue=queue)
        failure = None
        try:
            await handle.result()
        except WorkflowFailureError as error:
            failure = str(error.cause)
        description = await handle.describe()
        view = await description.memo_value(names.MEMO_DEPLOY, type_hint=DeployView)
        return Deployed(handle, view, asked, failure, await handle.fetch_history())
