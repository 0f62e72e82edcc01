"""The embedded stack: every project of a folder, deployed and served by Temporal's dev server, the api and a worker."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import httpx
import psutil
from pydantic import SecretStr

from callboard.dev import data_folder, ports
from callboard.dev.child import SupervisedProcess, wait_until_ok
from callboard.dev.environment import build_environment
from callboard.dev.events import report_closed_machines, report_ended_runs, report_handoffs
from callboard.dev.folders import find_project_folders
from callboard.dev.publishing import Publisher, format_build
from callboard.dev.temporal import NAMESPACE, TemporalServer
from callboard.machines.isolation import find_isolation
from callboard.machines.package_box import PackageBox
from callboard.projects.catalog import deploys_seen_within
from callboard.projects.environments import Environments
from callboard.schemas.errors import Unavailable
from callboard.settings import Settings
from callboard.storage.factory import open_store
from callboard.telemetry.tracing import trace_endpoints
from callboard.temporal.client import connect
from callboard.temporal.namespace import Retention

WEBHOOK_SECRET_FILE = "webhook-secret"  # noqa: S105 - a name of a file
"""Name of the file in the data folder with the secret that signs webhooks, unless one is set."""

_LOOPBACK = ("127.0.0.0/8", "::1/128")
"""Networks to which sinks may also lead, and Machines connect, as somebody who tries things out has receivers and sites
on the same machine."""

DRAIN_TIMEOUT = timedelta(seconds=10)
"""How long Attempts may go on when the stack is stopped, unless set otherwise. It is short because a person is waiting.
An Attempt that is cut off is tried again when the stack runs again."""

_FIRST_DEPLOY_TIMEOUT = timedelta(seconds=2)
"""How long the start waits for deploys once everything runs. A deploy that takes longer is reported when it is done."""
_READY_TIMEOUT = timedelta(seconds=60)
_API_GRACE = timedelta(seconds=15)
_WORKER_STOP_TIMEOUT = timedelta(seconds=15)
"""How long a worker may take to stop its Machines, after its drain time."""


class DevStack:
    """The embedded stack as an async context manager: it runs within the `async with`.

    Attributes that say where it is (`url`, `api_key`, …) are set when it has started. It starts as a whole or not at
    all, and stops in order: worker, api, Temporal.
    """

    url: str
    """Address of the api."""
    api_key: str
    new_key_file: Path | None
    """File of the API key, if it was created at this start and nobody can know it yet; else None."""
    key_file: Path | None
    """File of the API key; None if the settings had one."""
    webhook_secret_file: Path | None
    """File of the secret that signs webhooks; None if the settings had one."""
    temporal: TemporalServer
    projects: Publisher
    """The publisher, which knows the state of the project folders."""

    def __init__(
        self,
        projects_dir: Path,
        settings: Settings,
        *,
        temporal_port: int,
        ui_port: int,
        report: Callable[[str], None],
    ) -> None:
        """Create a stack without starting it.

        Args:
            projects_dir: Folder whose project folders are deployed and served, and deployed again when they change.
            settings: Data folder, port of the api, keys if they are not to be created, and the operator's settings.
            temporal_port: Port of Temporal's gRPC service; 0 takes a free one, as with every port here.
            ui_port: Port of Temporal's Web UI.
            report: Function that takes one line for the user when something has happened; some are an `Event`.
        """
        self._projects_dir = projects_dir
        self._settings = settings
        self._temporal_port = temporal_port
        self._ui_port = ui_port
        self._report = report
        self._children: list[SupervisedProcess] = []
        self._resources = AsyncExitStack()
        self._grace_skipped = False

    @property
    def metrics_addresses(self) -> dict[str, str]:
        """Where each service answers `/metrics`, if the operator wants that: the worker beside the api."""
        address = self._settings.metrics_address
        if address is None:
            return {}
        host, _, port = address.rpartition(":")
        beside = int(port) + (1 if int(port) < 65535 else -1)
        return {"api": address, "worker": f"{host}:{beside}"}

    @property
    def settings(self) -> Settings:
        """The settings of the stack's processes: those given, completed with ports and keys once it runs."""
        return self._settings

    async def __aenter__(self) -> Self:
        """Start everything.

        Raises:
            StackError: A folder, port or program is not available, or a process does not become ready; nothing is left
                running.
            StoreError: The artifact store cannot be written.
            ConfigurationError: The walls that the settings want around Machines cannot stand here.
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
        """Wait until one of the processes is given up, which ends the stack. Meanwhile, report Runs and Machines.

        Raises:
            StackError: The process died too often; the message has the end of its log.
        """
        client = await connect(self._settings)
        events = asyncio.gather(
            report_ended_runs(client, self.url, self._report),
            report_handoffs(client, self.url, self._report),
            report_closed_machines(self._settings.data_dir / "logs" / "worker.log", self._report),
        )
        try:
            await asyncio.gather(
                self.projects.wait_for_failure(), *(child.wait_until_given_up() for child in self._children), events
            )
        finally:
            events.cancel()

    def skip_grace(self) -> None:
        """Make stopping wait neither for running Attempts nor for anything else."""
        self._grace_skipped = True
        for child in self._children:
            child.skip_grace()

    async def _start(self, resources: AsyncExitStack) -> None:
        find_project_folders(self._projects_dir)  # This raises if there is no project to serve.
        # This raises for the user what the worker would only write into its log.
        await asyncio.to_thread(find_isolation, self._settings.isolation)
        data = self._settings.data_dir.expanduser().resolve()
        resources.enter_context(data_folder.lock_data_folder(data))
        data_folder.ensure_format(data)
        free = ports.choose_ports(
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
            api_port=free["--port"] if self._settings.encrypt_payloads else None,
            report=self._report,
            retention=Retention.from_settings(self._settings),
        )
        self._settings = self._complete_settings(data, free["--port"], free["CALLBOARD_VIEWER_PORT"])
        self.url = f"http://127.0.0.1:{free['--port']}"
        self._children += self.temporal.processes
        resources.push_async_callback(self.temporal.stop)
        await self.temporal.start()
        of_metrics = [int(address.rpartition(":")[2]) for address in self.metrics_addresses.values()]
        listened_at = await asyncio.to_thread(_listened_at, self._children)
        self._settings = self._settings.model_copy(
            update={"own_ports": [*self._settings.own_ports, *listened_at, *of_metrics]}
        )
        # Not earlier: what packages of projects bring with them must not reach the ports of the stack.
        store = open_store(self._settings.artifact_location, endpoint=self._settings.artifacts_endpoint)
        box = PackageBox(
            self._settings, temporal_address=self.temporal.address, other_parts=trace_endpoints(os.environ)
        )
        environments = Environments(
            data / "environments", box, on_build=lambda project: self._report(format_build(project))
        )
        self.projects = Publisher(
            self._projects_dir,
            store,
            environments,
            self._report,
            self._delete_project,
            seen_within=deploys_seen_within(is_bucket=self._settings.keeps_artifacts_in_bucket),
            max_machines=self._settings.max_machines,
        )
        await resources.enter_async_context(self.projects)
        # The api starts first and the worker second, so that they stop in reverse order.
        api = self._create_service("api", _API_GRACE)
        worker = self._create_service("worker", self._settings.drain + _WORKER_STOP_TIMEOUT)
        for child in (api, worker):
            resources.push_async_callback(child.stop)
            await child.start()
        await api.wait_until_ready(wait_until_ok(f"{self.url}/healthz", api, self.api_key, timeout=_READY_TIMEOUT))
        await self.projects.wait_for_first_deploys(_FIRST_DEPLOY_TIMEOUT)
        await worker.wait_until_ready(wait_until_ok(f"{self.url}/readyz", worker, self.api_key, timeout=_READY_TIMEOUT))
        if self.new_key_file is not None:
            # The key is kept only now: a start that fails shows no key, so the next one creates and shows another.
            data_folder.write_private_file(self.new_key_file, self.api_key + "\n")
        resources.enter_context(data_folder.connection_file(data, self._connection()))
        self.projects.start_reporting()

    async def _delete_project(self, project: str) -> None:
        """Delete a project whose folder was removed. Raises Unavailable if the api does not do it."""
        path = f"/api/v1/workspace/{self._settings.workspace}/projects/{quote(project, safe='')}"
        query = {"confirm": project, "openRuns": "cancel"}
        try:
            async with httpx.AsyncClient(
                base_url=self.url, headers={"x-api-key": self.api_key}, timeout=60, trust_env=False
            ) as client:
                answer = await client.delete(path, params=query)
        except httpx.RequestError as error:
            raise Unavailable(f"The api does not answer ({type(error).__name__}).") from error
        if not answer.is_success and answer.status_code != 404:
            raise Unavailable(f"The api answered {answer.status_code}: {answer.json()['message']}")

    def _complete_settings(self, data: Path, port: int, viewer_port: int) -> Settings:
        """Return the settings for the children, with the keys and all values that are fixed in an embedded stack."""
        keys, self.key_file, self.new_key_file = self._settings.api_keys, None, None
        if not keys:
            self.key_file = data / "api-key"
            key = data_folder.read_secret(self.key_file)
            if key is None:
                key, self.new_key_file = data_folder.new_secret("cb_"), self.key_file
            keys = [SecretStr(key)]
        self.api_key = keys[0].get_secret_value()
        sealing = self._settings.secret_key or [
            SecretStr(_read_or_create_secret(data / "secret-key", data_folder.new_secret("")))
        ]
        signing, self.webhook_secret_file = self._settings.webhook_secrets, None
        if not signing:
            self.webhook_secret_file = data / WEBHOOK_SECRET_FILE
            signing = [SecretStr(_read_or_create_secret(self.webhook_secret_file, data_folder.new_webhook_secret()))]
        return self._settings.model_copy(
            update={
                "api_keys": keys,
                "secret_key": sealing,
                "webhook_secrets": signing,
                "egress_allow": [*self._settings.egress_allow, *_LOOPBACK],
                "browser_allow": [*self._settings.browser_allow, *_LOOPBACK],
                "data_dir": data,
                "environment": "dev",
                "dev_projects": self._projects_dir.resolve(),
                "host": "127.0.0.1",
                "port": port,
                "viewer_port": viewer_port,
                "public_url": self._settings.public_url or f"http://127.0.0.1:{port}",
                "temporal_address": self.temporal.address,
                "temporal_namespace": NAMESPACE,
                "temporal_environment_config": False,
                "temporal_ui_url": self.temporal.ui_url,
                "ready_needs_workers": True,
                "drain": self._set_or_default("drain", DRAIN_TIMEOUT),
            }
        )

    def _set_or_default(self, field: str, value: timedelta) -> timedelta:
        return getattr(self._settings, field) if field in self._settings.model_fields_set else value

    def _create_service(self, name: str, grace: timedelta) -> SupervisedProcess:
        child = SupervisedProcess(
            name,
            # -P keeps Python from importing a folder `api` or a file `worker.py` of the user's working folder.
            [sys.executable, "-P", "-m", name],
            log=self._settings.data_dir / "logs" / f"{name}.log",
            environment=build_environment(self._service_settings(name)),
            grace=grace,
            report=self._report,
        )
        self._children.append(child)
        if self._grace_skipped:
            child.skip_grace()
        return child

    def _service_settings(self, name: str) -> Settings:
        """Return the settings of one of the two services, which cannot both listen at the address for metrics."""
        address = self.metrics_addresses.get(name)
        return self._settings.model_copy(update={"metrics_address": address})

    def _connection(self) -> dict[str, str | int]:
        return {
            "url": self.url,
            "apiKey": self.api_key,
            "workspaceId": self._settings.workspace,
            "temporalAddress": self.temporal.address,
            "temporalUiUrl": self.temporal.ui_url,
            "pid": os.getpid(),
        }


def _listened_at(children: Iterable[SupervisedProcess]) -> list[int]:
    """Return the ports at which these children listen. No setting names most of them.

    A child that is started again may listen at others.
    """
    found: set[int] = set()
    for child in children:
        if child.pid is not None:
            process = psutil.Process(child.pid)
            for each in (process, *process.children(recursive=True)):
                connections = each.net_connections("tcp")
                found.update(each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN)
    return sorted(found)


def _read_or_create_secret(file: Path, fresh: str) -> str:
    """Return the secret that `file` holds, or store and return `fresh`.

    It is stored before it is used, because it must be the same at the next start.
    """
    key = data_folder.read_secret(file)
    if key is None:
        key = fresh
        data_folder.write_private_file(file, key + "\n")
    return key
