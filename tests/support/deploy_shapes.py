"""A stage for deploys, and their shapes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import activity
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError

from callboard.schemas.workflow import names
from callboard.schemas.workflow.deploy import BuildInput, CheckedUpload, DeployInput, DeployView, PublishedVersion
from callboard.schemas.workflow.resources import AppliedResources, ApplyResourcesInput
from tests.support.stage import WORKSPACE, Server, Stage, keep
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


class DeployStage(Stage):
    """A deploy, to its end."""

    asked: list[str]
    """The activities that were executed, with their repetitions."""
    view: DeployView
    """What its memo says."""
    failure: str | None = None

    @property
    def handle(self) -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(self.name)

    async def serve(self, deploying: Deploying) -> None:
        """Serve the workflow, its build and its other activities."""
        self.asked = []

        @activity.defn(name=names.CHECK_UPLOAD)
        async def check(input: DeployInput) -> CheckedUpload:
            self.asked.append("check")
            if isinstance(deploying.check, Exception):
                raise deploying.check
            assert input.upload == "upload-1"
            return deploying.check

        @activity.defn(name=names.BUILD_VERSION)
        async def build(input: BuildInput) -> None:
            self.asked.append("build")
            assert input.version == VERSION

        @activity.defn(name=names.PUBLISH_UPLOAD)
        async def publish(input: DeployInput) -> PublishedVersion:
            self.asked.append("publish")
            if self.asked.count("publish") <= deploying.away:
                raise ApplicationError(AWAY, type="StoreError", next_retry_delay=deploying.next_try)
            return deploying.published

        @activity.defn(name=names.REMOVE_UPLOAD)
        async def remove(input: DeployInput) -> None:
            self.asked.append("remove")
            if deploying.remove is not None:
                raise deploying.remove

        @activity.defn(name=names.UPDATE_RESOURCES)
        async def update(input: ApplyResourcesInput) -> AppliedResources:
            return AppliedResources(version=VERSION)

        workflows = [DeployWorkflow, ApplyResourcesWorkflow]
        await self.work(self.queue, [check, publish, remove, update], workflows=workflows)
        await self.work(names.BUILDS_QUEUE, [build])

    async def play(self) -> None:
        """Start the deploy, and see how it ends."""
        start = DeployInput(workspace=WORKSPACE, project="shop", upload="upload-1", by="anna")
        handle = await self.client.start_workflow(DeployWorkflow.run, start, id=self.name, task_queue=self.queue)
        try:
            await handle.result()
        except WorkflowFailureError as error:
            self.failure = str(error.cause)
        self.view = await (await handle.describe()).memo_value(names.MEMO_DEPLOY, type_hint=DeployView)


def _deploy(name: str, **come: Any) -> None:
    """Keep a shape whose activities come to this."""

    async def play(stage: DeployStage) -> None:
        await stage.serve(Deploying(**come))
        await stage.play()

    keep(name, DeployStage, play, server=Server.SKIPPING)


_deploy("deploy-completed")
_deploy("deploy-of-jobs", published=_PUBLISHED.model_copy(update={"has_resources": True}))
_deploy("deploy-refused", check=ApplicationError(REFUSED, type="ProjectRefused", non_retryable=True))
_deploy("deploy-store-away-for-a-while", away=3, remove=_AWAY)
_deploy("deploy-store-away-for-long", away=1, next_try=timedelta(hours=1))
