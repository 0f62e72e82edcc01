"""A collector of OpenTelemetry: a real HTTP server on loopback that reads OTLP as http/protobuf."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.support.webhook_receiver import PATIENCE, Receiver, Reply, answers, receiver


@dataclass(frozen=True)
class CollectedSpan:
    """One span, as it was exported."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    """Empty for the first span of a trace."""
    kind: str
    attributes: dict[str, str | int]
    links: tuple[str, ...]
    """The ids of the traces that it points at."""
    failed: bool
    seconds: float


class Collector:
    """What has come, and where it is sent to."""

    def __init__(self, inbox: Receiver) -> None:
        self.url = inbox.url
        self.inbox = inbox

    @property
    def spans(self) -> list[CollectedSpan]:
        return [span for request in self.inbox.received for span in _spans(request.body)]

    async def until(self, *names: str, trace_id: str | None = None) -> list[CollectedSpan]:
        """All spans of a trace, once at least one of each of these names has come."""
        async with asyncio.timeout(PATIENCE):
            while True:
                found = [span for span in self.spans if trace_id in (None, span.trace_id)]
                if {*names} <= {span.name for span in found}:
                    return found
                await self.inbox.until(len(self.inbox.received) + 1)


@asynccontextmanager
async def otlp_collector(*script: Reply) -> AsyncGenerator[Collector]:
    """A collector for as long as the block lasts."""
    # An exporter keeps its connections, and this server closes each.
    async with receiver(*(script or [answers(body=b"", connection="close")])) as inbox:
        yield Collector(inbox)


def _spans(body: bytes) -> Sequence[CollectedSpan]:
    request = ExportTraceServiceRequest.FromString(body)
    return [
        CollectedSpan(
            service=str(_values(each.resource.attributes)["service.name"]),
            name=span.name,
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
            attributes=_values(span.attributes),
            links=tuple(link.trace_id.hex() for link in span.links),
            failed=span.status.code == Status.StatusCode.STATUS_CODE_ERROR,
            seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
        )
        for each in request.resource_spans
        for scope in each.scope_spans
        for span in scope.spans
    ]


def _values(attributes: Sequence[KeyValue]) -> dict[str, str | int]:
    return {each.key: each.value.string_value or each.value.int_value for each in attributes}
