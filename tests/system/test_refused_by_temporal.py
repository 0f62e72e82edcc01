"""What an operator is told by each process and command that a Temporal like Temporal Cloud refuses something."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest, UpdateNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from callboard.dev.temporal import TemporalServer
from callboard.schemas.workflow.names import SEARCH_ATTRIBUTES
from tests.support.certificates import Authority
from tests.support.cloud_proxy import CloudProxy
from tests.support.installation import API_KEY, NAMESPACE, SERVER_NAME, CloudInstallation
from tests.support.polling import until
from tests.support.temporal_servers import dev_client, search_attribute_types
from tests.support.temporal_servers import temporal as temporal

CREATE = "temporal cloud namespace search-attribute create"


@pytest.fixture(params=[False, True], ids=["search attributes not listed", "search attributes listed"])
def lists(request: Any) -> bool:
    return request.param


@pytest.fixture
async def cloud(tmp_path: Path, temporal: TemporalServer, lists: bool) -> AsyncIterator[CloudInstallation]:
    authority = Authority(tmp_path / "authority")
    server = authority.sign("server", "127.0.0.1", SERVER_NAME)
    name = f"{NAMESPACE.partition('.')[0]}-{int(lists)}.abc12"
    proxy = CloudProxy(temporal.address, server, namespace=name, api_key=API_KEY, lists_search_attributes=lists)
    async with proxy:
        installation = CloudInstallation(tmp_path, authority, proxy)
        installation.environment["TEMPORAL_NAMESPACE"] = name
        installation.use_api_key()
        yield installation


class Administrator:
    """Somebody who does at Temporal itself what Temporal Cloud lets its own tools do."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    async def make(self, days: int) -> None:
        await self._client.workflow_service.register_namespace(
            RegisterNamespaceRequest(
                namespace=self._namespace, workflow_execution_retention_period=Duration(seconds=days * 86_400)
            )
        )
        await until(lambda: self._answers(""), every=0.05)

    async def keep(self, days: int) -> None:
        config = NamespaceConfig(workflow_execution_retention_ttl=Duration(seconds=days * 86_400))
        await self._client.workflow_service.update_namespace(
            UpdateNamespaceRequest(namespace=self._namespace, config=config)
        )

    async def add_search_attributes(self) -> None:
        await self._client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=self._namespace, search_attributes=search_attribute_types())
        )
        await until(lambda: self._answers(" AND ".join(f"{name} = 'x'" for name in SEARCH_ATTRIBUTES)), every=0.05)

    async def _answers(self, query: str) -> bool:
        try:
            await Client(self._client.service_client, namespace=self._namespace).count_workflows(query)
        except RPCError:
            return False
        return True


async def test_setup_namespace_lists_the_steps_that_somebody_else_has_to_do(
    cloud: CloudInstallation, temporal: TemporalServer
) -> None:
    name = cloud.environment["TEMPORAL_NAMESPACE"]
    administrator = Administrator(await dev_client(temporal), name)
    code, out, err = await cloud.command("setup-namespace")
    assert (code, out) == (1, "")
    assert err.splitlines() == [
        f"There is no namespace '{name}', and Temporal does not let this client make it.",
        f"1. Make the namespace {name}, which keeps closed workflows for 7 days:",
        "     https://cloud.temporal.io: Namespaces > Create Namespace",
        "Then repeat this command.",
    ]

    await administrator.make(days=30)
    code, out, err = await cloud.command("setup-namespace")
    assert (code, err) == (1, "")
    left = "does not let this client do the rest in the namespace"
    somebody = "It is left to somebody with the rights to change the namespace:"
    typed = [f"{attribute}={kind}" for attribute, kind in SEARCH_ATTRIBUTES.items()]
    listed = ", ".join(f"{attribute} ({kind})" for attribute, kind in SEARCH_ATTRIBUTES.items())
    missing = f"Add {len(SEARCH_ATTRIBUTES)} search attributes: {listed}"
    pairs = " ".join(f'--search-attribute "{each}"' for each in typed)
    separately = '--name "${each%=*}" --type "${each#*=}"'
    options = f"--namespace {name} --retention-days 7"
    assert out.splitlines() == [
        "Artifacts are removed 8 days after the end of their Run (Schedule callboard-sweep).",
        f"Temporal at {cloud.proxy.address} {left} '{name}'. {somebody}",
        "1. Let the namespace keep closed workflows for 7 days; it keeps them for 30 days now. One of these does it:",
        f"     tcld namespace retention set {options}",
        f"     temporal cloud namespace retention set {options}",
        f"     https://cloud.temporal.io: Namespaces > {name} > Edit > Retention Policy",
        "     or leave it, and say so to Callboard: callboard setup-namespace --retention 30d",
        f"2. {missing}. One of these does it:",
        f"     tcld namespace search-attributes add --namespace {name} {pairs}",
        f"     for each in {' '.join(typed)}; do {CREATE} --namespace {name} {separately}; done",
        f"     https://cloud.temporal.io: Namespaces > {name} > Edit > Custom Search Attributes",
        "Then run `callboard setup-namespace` again, until it says that the namespace is up to date.",
    ]
    code, out, _ = await cloud.command("doctor", "--json")
    checks = {check["check"]: check for check in json.loads(out)["checks"]}
    assert checks["Search attributes"]["message"] == f"Missing: {', '.join(SEARCH_ATTRIBUTES)}."
    assert checks["Search attributes"]["fix"] == "Run `callboard setup-namespace`."

    await administrator.add_search_attributes()
    code, out, _ = await cloud.command("setup-namespace")
    assert code == 1
    assert "search attributes" not in out
    code, out, _ = await cloud.command("setup-namespace", "--retention", "30d")
    assert (code, out) == (0, "Artifacts are removed 31 days after the end of their Run (Schedule callboard-sweep).\n")

    await administrator.keep(days=7)
    code, _, err = await cloud.command("setup-namespace")
    assert (code, err) == (0, "")
    code, out, err = await cloud.command("setup-namespace")
    assert (code, err) == (0, "")
    assert out.startswith(f"Namespace '{name}' at {cloud.proxy.address} is up to date: Runs are kept for 7 days")
    # Temporal Cloud knows whole days only, so a day is as near as it comes to half of one.
    await administrator.keep(days=1)
    code, out, err = await cloud.command("setup-namespace", "--retention", "12h", "--artifact-retention", "8d")
    assert (code, err) == (0, "")


async def test_on_a_temporal_of_ones_own_it_is_told_by_its_own_commands(
    tmp_path: Path, temporal: TemporalServer
) -> None:
    authority = Authority(tmp_path / "authority")
    server = authority.sign("server", "127.0.0.1")
    await Administrator(await dev_client(temporal), "restricted").make(days=2)
    async with CloudProxy(temporal.address, server, namespace="restricted", api_key=API_KEY) as proxy:
        installation = CloudInstallation(tmp_path, authority, proxy)
        installation.use_api_key()
        installation.environment["TEMPORAL_NAMESPACE"] = "restricted"
        del installation.environment["TEMPORAL_TLS_SERVER_NAME"]
        code, out, err = await installation.command("setup-namespace")
    assert (code, err) == (1, "")
    assert "temporal operator namespace update --namespace restricted --retention 168h" in out
    named = " ".join(f"--name {name} --type {kind}" for name, kind in SEARCH_ATTRIBUTES.items())
    assert f"temporal operator search-attribute create --namespace restricted {named}" in out
    assert "cloud" not in out


async def test_what_it_cannot_connect_with_ends_each_process_with_a_sentence(
    tmp_path: Path, temporal: TemporalServer
) -> None:
    authority = Authority(tmp_path / "authority")
    async with CloudProxy(
        temporal.address, authority.sign("server", SERVER_NAME), namespace=NAMESPACE, api_key=API_KEY
    ) as proxy:
        cloud = CloudInstallation(tmp_path, authority, proxy)
        cloud.use_api_key()
        missing = {"TEMPORAL_TLS_CLIENT_CERT_PATH": "/no/where.pem", "TEMPORAL_TLS_CLIENT_KEY_PATH": "/no/where.key"}
        unreadable = (
            "The client certificate for Temporal cannot be read from /no/where.pem (No such file or directory)."
        )
        await ends_each_process(cloud, unreadable, **missing)
        assert unreadable in (await cloud.command("config", **missing))[2]
        assert not (cloud.folder / "commands" / "workers").exists()
        assert proxy.passed == set(), "nothing has begun"
        refusal = f"Temporal at {proxy.address} refuses the API key (TEMPORAL_API_KEY, or of the profile)."
        await ends_each_process(cloud, refusal, TEMPORAL_API_KEY="another-key", CALLBOARD_PORT="0")


async def ends_each_process(cloud: CloudInstallation, words: str, **environment: str) -> None:
    """See that each process ends with these words at its start."""
    for command in ("api", "worker", "setup-namespace"):
        code, out, err = await cloud.command(command, **environment)
        assert code in {1, 2}, (command, out, err)
        assert words in err, command
        assert "Traceback" not in err
        assert "another-key" not in out + err
    code, out, _ = await cloud.command("doctor", **environment)
    assert code == 1
    assert f"failed   Temporal: {words}" in out
