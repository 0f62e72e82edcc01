"""A test of a sink: one message, which delivery workers send in the same way, and sign, as every Delivery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from api.deliveries.bodies import try_body
from api.deliveries.run_sink import resolve_run_sink
from api.dependencies import Services
from api.http.json_body import validate_body
from api.runs.ids import new_run_id
from projects.manifest import Manifest
from schemas.rest.delivery import TryBody
from schemas.rest.field_errors import field_error
from schemas.rest.sink import SinkTestRequest
from schemas.workflow.delivery import SinkTestInput


@dataclass(frozen=True)
class SinkTest:
    """The outcome of a test of a sink."""

    id: str
    """Id of the test; the message that was sent has it in place of a Run's id."""
    result: TryBody
    failure: str | None
    """Why the message did not arrive; None if it arrived."""


async def send_sink_test(services: Services, manifest: Manifest, body: dict[str, Any]) -> SinkTest:
    """Send one message to the sink that a start would use: the one in its body, else the project's.

    Raises:
        BadRequest: A field is wrong, or there is no sink.
        ConfigurationError: There is no key to seal the sink with.
        Unavailable: Temporal does not answer, or no worker has sent the message.
    """
    request = validate_body(SinkTestRequest, {"api": body["api"], "sink": body.get("sink")})
    test_id = f"test-{new_run_id()}"
    sink = await resolve_run_sink(services, manifest, request.sink, test_id)
    if sink is None:
        raise field_error("sink", "a sink to send a test to; the project has none of its own")
    workspace = services.settings.workspace
    test = SinkTestInput(workspace=workspace, project=manifest.project, test_id=test_id, api=request.api, sink=sink)
    outcome = await services.deliveries.test_sink(test)
    return SinkTest(test_id, try_body(outcome.record), outcome.failure)
