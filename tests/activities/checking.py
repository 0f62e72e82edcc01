"""A stage for an Attempt after a check: its Run is there, and nobody works on it, so all that it is told is seen."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionDescription
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import ActivityEnvironment
from temporalio.worker import Worker

from contract.flow import names
from contract.flow.attempt import (
    AttemptInput,
    AttemptRecord,
    AttemptStatus,
)
from contract.flow.auth import AttemptAuth, LoginState
from contract.flow.auth_session import (
    AttemptAfterCheckInput,
    AttemptAfterCheckOutcome,
    ValidateInput,
)
from contract.flow.base import FlowModel, JsonText
from projects.deploy import deploy
from security import bindings
from storage import keys
from storage.folder import FolderStore
from tests.activities.bench import Bench, open_bench
from tests.activities.test_logins import PARAMETERS, browser_state
from tests.polling import until
from tests.workflows.logins import LoginStage
from tests.workflows.scripted import IDENTITY, WORKFLOWS, WORKSPACE
from workflows.login_work import check_of

PROJECT = "checked"
NUMBER = 2
"""Of the Attempt; its check is the first of its Validate."""
SOON = timedelta(seconds=0.3)

USER_CODE = """
import asyncio
from pathlib import Path

SITE = Path({site!r})

async def held(name):
    (SITE / f"{{name}}-began").touch()
    while (SITE / f"hold-{{name}}").exists():
        await asyncio.sleep(0.01)
"""
CHECK = """
async def check(page):
    await held("check")
    if (SITE / "rotate").exists():
        (cookie,) = await page.context.cookies()
        await page.context.add_cookies([{{**cookie, "value": "rotated"}}])
    if (SITE / "raise").exists():
        raise ValueError("no such element")
    return not (SITE / "bad").exists()
"""
LIST = """
async def automation(page, params=None, **_kwargs):
    await held("attempt")
    return [cookie["value"] for cookie in await page.context.cookies()]
"""
CREATE = "async def create(page, params=None, **_kwargs):\n    return True\n"


@dataclass
class Served:
    """A bench whose project is deployed and has one Machine, and somebody who works on Validates."""

    bench: Bench
    version: str
    site: Path


class Scene:
    """One Attempt after a check; the AuthSession is there, with its first login."""

    def __init__(self, served: Served, stage: LoginStage) -> None:
        self.bench = served.bench
        self.site = served.site
        self.stage = stage
        self.run_id = stage.run_id
        self.validate_id = names.validate_run_id(stage.run_id, NUMBER)
        self.temporal = ActivityEnvironment()
        owner = stage.ref.owner
        self.first = LoginState(
            login=1,
            key=keys.auth_session_state(PROJECT, owner, "first"),
            parameters_key=keys.auth_session_parameters(PROJECT, owner, "first"),
        )
        validate = ValidateInput(
            workspace=WORKSPACE,
            project=PROJECT,
            version=served.version,
            ref=stage.ref,
            auto_recreate=True,
            check_attempts=2,
            create_attempts=2,
            request_timeout=timedelta(minutes=1),
            save_trace=True,
            parent_run_id=stage.run_id,
            begun=True,
            first_check_elsewhere=True,
        )
        attempt = AttemptInput(
            workspace=WORKSPACE,
            run_id=stage.run_id,
            number=NUMBER,
            project=PROJECT,
            version=served.version,
            api="list",
            parameters=JsonText(text="{}", size=2),
            request_timeout=timedelta(minutes=1),
            save_trace=True,
            auth=AttemptAuth(ref=stage.ref),
        )
        check = check_of(self.validate_id, validate)
        self.order = AttemptAfterCheckInput(check=check, attempt=attempt, validate_order=validate)

    async def bring_up(self) -> None:
        for key, text in ((self.first.key, browser_state()), (self.first.parameters_key, PARAMETERS)):
            assert key
            token = self.bench.attempt._keyring.seal(text, bound_to=self._bound_to).encode()
            await self.bench.store.put(key, token)
        await self.stage.bring_up(state_key=self.first.key, parameters_key=self.first.parameters_key)
        await self.stage.start(version=self.order.attempt.version, auth=self.stage.auth(check_with_attempt=True))
        execution = (await self.stage.handle.describe()).run_id
        now = datetime.now(UTC)
        self.temporal.info = dataclasses.replace(
            self.temporal.info, workflow_run_id=execution, current_attempt_scheduled_time=now, started_time=now
        )

    def begin(self) -> asyncio.Task[AttemptAfterCheckOutcome]:
        async def run() -> AttemptAfterCheckOutcome:
            return await self.temporal.run(self.bench.after_check.attempt_after_check, self.order)

        return asyncio.create_task(run())

    async def fails(self, activity: asyncio.Task[Any] | None = None) -> ApplicationError:
        with pytest.raises(ApplicationError) as caught:
            await (activity or self.begin())
        return caught.value

    # The site.

    def set(self, name: str) -> None:
        (self.site / name).touch()

    def let(self, name: str) -> None:
        """Let the check, or the Attempt, go on."""
        (self.site / f"hold-{name}").unlink()

    def has_begun(self, name: str) -> bool:
        return (self.site / f"{name}-began").exists()

    async def began(self, name: str) -> None:
        """Wait until user code of it is at work."""
        await until(lambda: self.has_begun(name))

    # What is left.

    async def check_record(self) -> AttemptRecord | None:
        return await self.bench.record(PROJECT, self.validate_id)

    async def attempt_record(self) -> AttemptRecord | None:
        return await self.bench.record(PROJECT, self.run_id, NUMBER)

    async def check_status(self) -> AttemptStatus | None:
        record = await self.check_record()
        return record and record.status

    async def attempt_status(self) -> AttemptStatus | None:
        record = await self.attempt_record()
        return record and record.status

    def files(self, run_id: str, number: int) -> list[str]:
        folder = self.bench.folder / "artifacts" / keys.attempt(PROJECT, run_id, number, "attempt.json")
        return sorted(path.name for path in folder.parent.iterdir())

    async def validate(self) -> WorkflowExecutionDescription | None:
        try:
            return await self.stage.client.get_workflow_handle(self.validate_id).describe()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return None

    async def told(self) -> list[str]:
        """The signals that the Run was sent."""
        return [event.signal_name for event in await self._signals()]

    async def note[T: FlowModel](self, signal: str, kind: type[T]) -> T:
        (payloads,) = [event.input.payloads for event in await self._signals() if event.signal_name == signal]
        (note,) = await self.stage.client.data_converter.decode(payloads, [kind])
        return note

    async def _signals(self) -> list[Any]:
        return [
            event.workflow_execution_signaled_event_attributes
            for event in await self.stage.events()
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
        ]

    async def until_told(self, signal: str) -> None:
        async def told() -> bool:
            return signal in await self.told()

        await until(told)

    async def opened(self, key: str) -> str:
        token = await FolderStore.get(self.bench.store, key)
        assert token
        return self.bench.attempt._keyring.open(token.decode(), bound_to=self._bound_to)

    @property
    def _bound_to(self) -> str:
        return bindings.auth_session(WORKSPACE, PROJECT, self.stage.ref.owner)

    @property
    def attempt_is_noted(self) -> bool:
        """Whether the journal has the Attempt."""
        return any(note.name == f"{self.run_id}-{NUMBER}.json" for note in self.bench.notes())

    async def assert_nothing_held(self) -> None:
        assert len(self.bench.tickets) == 0
        assert self.bench.notes() == []
        assert self.bench.pools.of(PROJECT).busy == 0
        ours = ("check", "record the check", "announcement", "heartbeats", f"attempt {self.run_id}")
        assert [task for task in asyncio.all_tasks() if task.get_name().startswith(ours)] == []
        evidence = self.bench.workplace.scratch.parent / "evidence"
        await until(lambda: list(evidence.iterdir()) == [])


class SlowToTell:
    """A client that keeps a signal for itself until `go`."""

    def __init__(self, client: Client, signal: str) -> None:
        self._client = client
        self._signal = signal
        self.asked = asyncio.Event()
        self.go = asyncio.Event()

    def get_workflow_handle(self, *args: Any, **options: Any) -> Any:
        self._handle = self._client.get_workflow_handle(*args, **options)
        return self

    async def signal(self, name: str, note: Any) -> None:
        if name == self._signal:
            self.asked.set()
            await self.go.wait()
        await self._handle.signal(name, note)


@asynccontextmanager
async def serving(client: Client, folder: Path) -> AsyncGenerator[Served]:
    """A bench below `folder`, with the project; whoever works on Validates is there, too."""
    site = folder / "site"
    settings = {
        "projectName": PROJECT,
        "authSessions": {"enabled": True, "type": "API"},
        "replication": {"maxConcurrentRequests": 1},
    }
    files = {
        "Intuned.json": json.dumps(settings),
        "api/list.py": (USER_CODE + LIST).format(site=str(site)),
        "auth-sessions/check.py": (USER_CODE + CHECK).format(site=str(site)),
        "auth-sessions/create.py": CREATE,
    }
    for path, text in files.items():
        (folder / "project" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "project" / path).write_text(text)
    async with open_bench(folder, client, "checking") as bench:
        version = (await deploy(folder / "project", bench.store)).version
        await bench.pools.size(PROJECT, 1)
        async with Worker(client, task_queue=names.CALLBOARD_QUEUE, workflows=WORKFLOWS, identity=IDENTITY):
            yield Served(bench, version, site)
