"""The embedded stack: every project of a folder, deployed and served by Temporal's dev server, the api and a worker."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import SecretStr

from devstack import data_folder, ports
from devstack.child import Child
from devstack.environment import environment_of
from devstack.folders import project_folders
from devstack.publishing import Publisher
from devstack.readiness import until_ok
from devstack.temporal import NAMESPACE, TemporalServer
from projects.environments import Environments
from settings import Settings
from storage.factory import open_store
from temporal.namespace import Retention

WEBHOOK_KEY_FILE = "webhook-secret"
"""File of the data folder with the secret that signs webhooks, unless one is set."""

_LOOPBACK = ("127.0.0.0/8", "::1/128")
"""Sinks may lead there: the receiver of somebody who tries things out is on the same machine."""

DRAIN = timedelta(seconds=10)
"""How long Attempts may go on when the stack is stopped, unless set otherwise: a person is waiting. What is cut off
is tried again when the stack runs again."""

LOOK_FOR_VERSIONS = timedelta(seconds=0.5)
"""How often the api and the worker look for a new version, unless set otherwise: a person has changed something, and
wants to see it."""

_DEPLOY_PATIENCE = timedelta(seconds=2)
"""How long the start waits for deploys once everything runs. What takes longer is told when it is done."""
_READY_LIMIT = timedelta(seconds=60)
_API_GRACE = timedelta(seconds=15)
_WORKER_TEARDOWN = timedelta(seconds=15)
"""What a worker may need beyond its drain time, to stop its Machines."""


class DevStack:
    """The embedded stack as an async context manager: it runs within the `async with`.

    Attributes that say where it is (`url`, `api_key`, …) are there from then on. It starts all or nothing, and stops
    in order: worker, api, Temporal.
    """

    url: str
    """Address of the api."""
    api_key: str
    made_key: Path | None
    """File of the API key, if it was made at this start and nobody can know it yet."""
    key_file: Path | None
    """File of the API key; None if it came with the settings."""
    webhook_secret_file: Path | None
    """File of the secret that signs webhooks; None if it came with the settings."""
    temporal: TemporalServer
    projects: Publisher
    """What has become of the project folders."""

    def __init__(
        self,
        projects_dir: Path,
        settings: Settings,
        *,
        temporal_port: int,
        ui_port: int,
        report: Callable[[str], None],
    ) -> None:
        """Nothing is started yet.

        Args:
            projects_dir: Every project folder directly below it is deployed and served, and again when it changes.
            settings: Data folder, port of the api, keys if they are not to be made, and what else an operator sets.
            temporal_port: Of Temporal's gRPC service; 0 takes a free one, as with every port here.
            ui_port: Of Temporal's Web UI.
            report: Takes one line for the user when a process died and is started again, or a project was published.
        """
        self._projects_dir = projects_dir
        self._settings = settings
        self._temporal_port = temporal_port
        self._ui_port = ui_port
        self._report = report
        self._children: list[Child] = []
        self._resources = AsyncExitStack()
        self._in_a_hurry = False

    @property
    def settings(self) -> Settings:
        """The settings of its processes: those given, completed with ports and keys once it runs."""
        return self._settings

    async def __aenter__(self) -> Self:
        """Start everything.

        Raises:
            StackError: something cannot be had (folder, port, program) or does not come up; nothing is left running.
            StoreError: the artifact store cannot be written.
        """
        async with AsyncExitStack() as resources:
            await self._start(resources)
            self._resources = resources.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything in bounded time."""
        await self._resources.__aexit__(kind, error, trace)

    async def wait(self) -> None:
        """Wait until one of the processes is given up, which ends the stack.

        Raises:
            StackError: it died too often; the message has the end of its log.
        """
        await asyncio.gather(self.projects.failed(), *(child.given_up() for child in self._children))

    def hurry(self) -> None:
        """Do not wait for running Attempts, or for anything, while stopping."""
        self._in_a_hurry = True
        for child in self._children:
            child.hurry()

    async def _start(self, resources: AsyncExitStack) -> None:
        project_folders(self._projects_dir)  # Is there anything to be served at all?
        data = self._settings.data_dir.expanduser().resolve()
        resources.enter_context(data_folder.exclusive(data))
        data_folder.require_format(data)
        free = ports.claim(
            {
                "--port": self._settings.port,
                "--temporal-port": self._temporal_port,
                "--ui-port": self._ui_port,
                "CALLBOARD_VIEWER_PORT": self._settings.viewer_listens_on,
            }
        )
        self.temporal = TemporalServer(
            data,
            port=free["--temporal-port"],
            ui_port=free["--ui-port"],
            report=self._report,
            retention=Retention.of(self._settings),
        )
        self._settings = self._complete(data, free["--port"], free["CALLBOARD_VIEWER_PORT"])
        self.url = f"http://127.0.0.1:{free['--port']}"
        store = open_store(self._settings.artifact_location, endpoint=self._settings.artifacts_endpoint)
        environments = Environments(data / "environments")
        self.projects = Publisher(self._projects_dir, store, environments, self._report, self.settings.poll_versions)
        await resources.enter_async_context(self.projects)

        self._children += self.temporal.children
        resources.push_async_callback(self.temporal.stop)
        await self.temporal.start()
        # The api first and the worker second, so that they stop in the other order.
        api = self._module("api", _API_GRACE)
        worker = self._module("worker", self._settings.drain + _WORKER_TEARDOWN)
        for child in (api, worker):
            resources.push_async_callback(child.stop)
            await child.start()
        await api.become_ready(until_ok(f"{self.url}/healthz", api, self.api_key, within=_READY_LIMIT))
        await self.projects.settle(_DEPLOY_PATIENCE)
        await worker.become_ready(until_ok(f"{self.url}/readyz", worker, self.api_key, within=_READY_LIMIT))
        if self.made_key is not None:
            # Only now: a start that fails shows no key, so that the next one makes and shows another.
            data_folder.write_private(self.made_key, self.api_key + "\n")
        resources.enter_context(data_folder.address_card(data, self._card()))
        self.projects.announce()

    def _complete(self, data: Path, port: int, viewer_port: int) -> Settings:
        """The settings for the children: all that is fixed in an embedded stack, and the keys."""
        keys, self.key_file, self.made_key = self._settings.api_keys, None, None
        if not keys:
            self.key_file = data / "api-key"
            key = data_folder.kept_secret(self.key_file)
            if key is None:
                key, self.made_key = data_folder.new_secret("cb_"), self.key_file
            keys = [SecretStr(key)]
        self.api_key = keys[0].get_secret_value()
        sealing = self._settings.secret_key or [SecretStr(_kept(data / "secret-key", data_folder.new_secret("")))]
        signing, self.webhook_secret_file = self._settings.webhook_secrets, None
        if not signing:
            self.webhook_secret_file = data / WEBHOOK_KEY_FILE
            signing = [SecretStr(_kept(self.webhook_secret_file, data_folder.new_webhook_secret()))]
        return self._settings.model_copy(
            update={
                "api_keys": keys,
                "secret_key": sealing,
                "webhook_secrets": signing,
                "egress_allow": [*self._settings.egress_allow, *_LOOPBACK],
                "data_dir": data,
                "environment": "dev",
                "dev_projects": self._projects_dir.resolve(),
                "host": "127.0.0.1",
                "port": port,
                "viewer_port": viewer_port,
                "temporal_address": self.temporal.address,
                "temporal_namespace": NAMESPACE,
                "temporal_ui_url": self.temporal.ui_url,
                "ready_needs_workers": True,
                "drain": self._unless_set("drain", DRAIN),
                "poll_versions": self._unless_set("poll_versions", LOOK_FOR_VERSIONS),
            }
        )

    def _unless_set(self, field: str, value: timedelta) -> timedelta:
        return getattr(self._settings, field) if field in self._settings.model_fields_set else value

    def _module(self, name: str, grace: timedelta) -> Child:
        child = Child(
            name,
            # -P: a folder `api` or a file `worker.py` in the user's working folder is not ours.
            [sys.executable, "-P", "-m", name],
            log=self._settings.data_dir / "logs" / f"{name}.log",
            environment=environment_of(self._settings),
            grace=grace,
            report=self._report,
        )
        self._children.append(child)
        if self._in_a_hurry:
            child.hurry()
        return child

    def _card(self) -> dict[str, str | int]:
        return {
            "url": self.url,
            "apiKey": self.api_key,
            "workspaceId": self._settings.workspace,
            "temporalAddress": self.temporal.address,
            "temporalUiUrl": self.temporal.ui_url,
            "pid": os.getpid(),
        }


def _kept(file: Path, fresh: str) -> str:
    """What `file` holds, else `fresh`; kept before it is used, as it must be the same another time."""
    key = data_folder.kept_secret(file)
    if key is None:
        key = fresh
        data_folder.write_private(file, key + "\n")
    return key
