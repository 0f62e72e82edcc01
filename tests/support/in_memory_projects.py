"""Stand-ins of the engine for what is about projects as a whole: their deploys, Machines, alerts and codes."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

from callboard.projects.manifest import read_current
from callboard.projects.pointer import DeployRecord, move_pointer, withdraw_pointer
from callboard.schemas.errors import CallboardError, Conflict, NotFound, Unavailable
from callboard.schemas.workflow.alert import Alert
from callboard.schemas.workflow.deploy import DeployInput, DeployView
from callboard.schemas.workflow.fleet import FleetState
from callboard.schemas.workflow.inbox import PushedCode
from callboard.schemas.workflow.project_changes import DeleteProjectInput, MovePointerInput
from callboard.storage.store import Store
from callboard.temporal.alerts import Alerts
from callboard.temporal.deploys import Application, Deploy, Deploys
from callboard.temporal.fleet_view import FleetReader
from callboard.temporal.inboxes import Inboxes
from callboard.temporal.project_changes import ProjectChanges
from callboard.temporal.sweep_schedule import SweepReport, Sweeps
from tests.support.constants import WORKSPACE


class MemoryInboxes(Inboxes):
    """What was pushed: the project and the keyed hash of the addressee, and the code."""

    def __init__(self) -> None:
        self.pushed: list[tuple[str, str, PushedCode]] = []

    async def push(self, workspace: str, project: str, addressee: str, code: PushedCode) -> None:
        assert workspace == WORKSPACE
        self.pushed.append((project, addressee, code))


class MemoryAlerts(Alerts):
    """The alerts of the project `shop`."""

    def __init__(self) -> None:
        self.known: list[Alert] = []

    async def list_all(self, workspace: str, project: str) -> list[Alert]:
        assert workspace == WORKSPACE
        return self.known if project == "shop" else []


class MemoryFleet(FleetReader):
    """Who holds which Machines: `state`, which a test puts here; None: no worker answers."""

    def __init__(self, state: FleetState) -> None:
        self.state: FleetState | None = state

    async def _read_state(self) -> FleetState:
        if self.state is None:
            raise Unavailable("No worker has said who holds which Machines.")
        return self.state


class MemoryDeploys(Deploys):
    """Deploys of uploads: what was asked for, and how far a test says that they are."""

    def __init__(self) -> None:
        self.started: list[DeployInput] = []
        self.view: DeployView | None = None
        """Of every deploy; None: it is pending."""
        self.application: Application | None = None
        """What became of the files of Jobs and AuthSessions."""

    async def start(self, deploy: DeployInput) -> str:
        if self.started and self.view is None:
            raise Conflict(f"Project {deploy.project} is being deployed.")
        self.started.append(deploy)
        return f"deploy-{len(self.started)}"

    async def get(self, workspace: str, project: str, deploy_id: str | None = None) -> Deploy:
        known = {f"deploy-{number}": deploy for number, deploy in enumerate(self.started, 1)}
        mine = [each for each, deploy in known.items() if (deploy.workspace, deploy.project) == (workspace, project)]
        if not mine or (deploy_id is not None and deploy_id not in mine):
            raise NotFound("There is no such deploy.")
        return Deploy(deploy_id or mine[-1], self.view or DeployView(project=project))

    async def get_application(self, project: str, deployed_at: datetime) -> Application | None:  # noqa: ARG002
        return self.application


class MemorySweeps(Sweeps):
    """The last sweep, as a test puts it here."""

    def __init__(self) -> None:
        self.report: SweepReport | None = None

    async def last(self) -> SweepReport | None:
        return self.report


class MemoryProjectChanges(ProjectChanges):
    """Does at once what a worker would do: moves the pointer of a store, or withdraws it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.deletions: list[DeleteProjectInput] = []
        self.refused: CallboardError | None = None
        self.done = True

    async def move_pointer(self, move: MovePointerInput) -> str:
        if self.refused is not None:
            raise self.refused
        current = await read_current(self._store, move.project)
        assert current is not None
        version = move.version or current.before[0]
        record = DeployRecord(
            id=uuid4().hex, version=version, action=move.action.value, at=datetime.now(UTC), by=move.by
        )
        await move_pointer(self._store, move.project, record)
        return version

    async def delete(self, deletion: DeleteProjectInput) -> bool:
        if self.refused is not None:
            raise self.refused
        self.deletions.append(deletion)
        await withdraw_pointer(self._store, deletion.project)
        return self.done
