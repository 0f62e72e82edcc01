"""A test of a sink: sent by the workers that deliver, by the way and with the signature of every Delivery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from api.deliveries import try_body
from api.identity import new_identity
from api.parts import Parts
from api.reading import read_as
from api.sinks import sink_of_run
from contract.flow.delivery import SinkTestInput
from contract.rest.delivery import Try
from contract.rest.problems import bad_field
from contract.rest.start import StartRequest
from projects.manifest import Manifest


@dataclass(frozen=True)
class SinkTest:
    """What came of it."""

    id: str
    """What was sent has it where a Run's id stands."""
    came: Try
    failure: str | None
    """Why it did not arrive. None: it did."""


async def test_sink(parts: Parts, manifest: Manifest, body: dict[str, Any]) -> SinkTest:
    """Send one message to the sink that a start would have: the one in its body, else the project's.

    Raises:
        BadRequest: A field is wrong, or there is no sink.
        ConfigurationError: There is no key to seal it with.
        Unavailable: Temporal does not answer, or no worker has sent it.
    """
    said = read_as(StartRequest, {"api": body["api"], "parameters": {}, "sink": body.get("sink")})
    test_id = f"test-{new_identity().run_id}"
    sink = await sink_of_run(parts, manifest, said.sink, test_id)
    if sink is None:
        raise bad_field("sink", "a sink to send a test to; the project has none of its own")
    workspace = parts.settings.workspace
    order = SinkTestInput(workspace=workspace, project=manifest.project, test_id=test_id, api=said.api, sink=sink)
    outcome = await parts.deliveries.test(order)
    return SinkTest(test_id, try_body(outcome.record), outcome.failure)
