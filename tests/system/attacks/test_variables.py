"""Environment variables reach the Attempts of their project and no other, and no secret among them is told anywhere."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from temporalio.api.common.v1 import Payload

from callboard.schemas.mask import MASK
from tests.support.files import contents
from tests.support.machines import Language
from tests.support.temporal_servers import dev_client
from tests.system.attacks.installation import API_KEY, SEALING_KEY, Installation, attacker_in

SECRET = "marked-variable-that-nobody-may-read"
LARGE = f"marked-variable-{'of-many-letters-' * 400}"
"""Which is an artifact of its Run."""


@asynccontextmanager
async def variables(installation: Installation, project: str, **values: str) -> AsyncGenerator[None]:
    """Secrets of a project, as long as the block lasts."""
    rest = installation.rest
    for name, value in values.items():
        await rest.ask("PUT", f"env-vars/{name}", {"value": value, "secret": True}, project=project)
    try:
        yield
    finally:
        for name in values:
            await rest.ask("DELETE", f"env-vars/{name}", project=project)


@pytest.mark.kinds("plain-full", "plain-open", "root-full")
async def test_an_attempt_finds_no_variable_but_its_own(installation: Installation, language: Language) -> None:
    attacker = attacker_in(language)
    async with variables(installation, "victim", OTHER=SECRET), variables(installation, attacker, OWN=SECRET):
        told = await installation.attack("variables", {}, project=attacker)
        assert told == {"found": {"OWN": MASK}, "kept": []}
    told = await installation.attack("variables", {"look": True}, project=attacker)
    assert told == {"found": {}, "kept": []}, "nothing has stayed"


@pytest.mark.kinds("plain-open")
async def test_a_secret_is_told_in_nothing_that_is_left(installation: Installation) -> None:
    async with variables(installation, "attacker", SMALL=SECRET, LARGE=LARGE):
        runs = [await installation.begin("tells", {"name": name}) for name in ("SMALL", "LARGE")]
        answers = [json.dumps(await installation.rest.result(run_id)) for run_id in runs]
        answers += [json.dumps(await installation.rest.get(f"runs/{run_id}")) for run_id in runs]
        answers.append(json.dumps(await installation.rest.get("env-vars")))
        (attempt,) = json.loads(answers[2])["attempts"]
        assert {"name": "SMALL", "source": "project", "secret": True} in attempt["envVars"]
        assert attempt["error"]["message"] == "ValueError: it was *** (api/tells.py:17)"
        assert attempt["attributes"] == {"told": "***"}
        artifacts = installation.data / "artifacts"
        logs = [installation.log(part) for part in ("api", "worker")]
        told = [text.encode() for text in (*answers, *logs)]
        traces = 0
        for path in artifacts.rglob("*"):
            if path.is_file():
                traces += path.name == "trace.zip" and any(run_id in path.parts for run_id in runs)
                told += contents(path)
        assert traces == len(runs)
        histories = [data async for data in payloads(installation, runs)]
        assert any(b"collect_variables" in data for data in histories), "they are looked at where variables are"
        for secret in (SECRET, LARGE, SEALING_KEY, API_KEY):
            assert [data for data in (*told, *histories) if secret.encode() in data] == []
        assert any(b"it was ***" in data for data in told), "user code has told it"
        audit = [data for path in (artifacts / "audit").rglob("*.json") for data in contents(path)]
        assert any(b"env-var.set" in data and b"SMALL" in data for data in audit)


async def payloads(installation: Installation, runs: list[str]) -> AsyncGenerator[bytes]:
    """All payloads in the histories of Runs, and all that stands beside them, as Temporal keeps it."""
    client = await dev_client(installation.temporal)
    for run_id in runs:
        async for event in client.get_workflow_handle(run_id).fetch_history_events():
            yield event.SerializeToString()
            for payload in _payloads_of(event):
                yield payload.data


def _payloads_of(message: object) -> list[Payload]:
    """The payloads in a message, at any depth."""
    if isinstance(message, Payload):
        return [message]
    found: list[Payload] = []
    for _, value in getattr(message, "ListFields", list)():
        values = value.values() if hasattr(value, "values") else value if hasattr(value, "__iter__") else [value]
        for each in values:
            if not isinstance(each, str | bytes):
                found += _payloads_of(each)
    return found
