"""A gRPC proxy before Temporal that asks for what Temporal Cloud asks for, and refuses what Temporal Cloud refuses.

What it refuses, and where that was read:

- `grpc.health.v1.Health/Check` (github.com/temporalio/temporal-worker-controller/issues/225: "not a namespace scoped
  operation"), `ListNamespaces`, `GetClusterInfo` and `GetSearchAttributes`
  (github.com/temporalio/temporal/issues/11639: the default authorizer refuses calls of the cluster to claims of a
  namespace);
- `RegisterNamespace`, `UpdateNamespace`, `DeprecateNamespace` (docs.temporal.io/develop/go/namespaces: "these APIs and
  Temporal CLI commands will not work with Temporal Cloud");
- the whole OperatorService (docs.temporal.io/self-hosted-guide/visibility/custom-search-attributes: "to manage custom
  Search Attributes on Temporal Cloud, use the tcld CLI tool"). Its Web UI lists search attributes by this service, so
  `lists_search_attributes` lets that call through: Callboard has to work in both cases;
- a call of a namespace without the metadata `temporal-namespace`, and `GetSystemInfo` with it
  (github.com/temporalio/sdk-typescript/pull/1712), and any call of another namespace;
- `RecordWorkerHeartbeat` and `ListWorkers`, which a service may keep off, and `ListTaskQueuePartitions`, of which
  Temporal Cloud's documents say nothing: Callboard must not need them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import grpc
import grpc.aio
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from temporalio.api.workflowservice.v1 import service_pb2

from tests.support.certificates import Signed

_WORKFLOW_SERVICE = "temporal.api.workflowservice.v1.WorkflowService"
_LIST_SEARCH_ATTRIBUTES = "/temporal.api.operatorservice.v1.OperatorService/ListSearchAttributes"
REFUSED = frozenset(
    {
        "RegisterNamespace",
        "UpdateNamespace",
        "DeprecateNamespace",
        "ListNamespaces",
        "GetClusterInfo",
        "GetSearchAttributes",
        "RecordWorkerHeartbeat",
        "ListWorkers",
        "ListTaskQueuePartitions",
    }
)
_REQUESTS: dict[str, type[Message]] = {
    method.name: GetMessageClass(method.input_type)
    for method in service_pb2.DESCRIPTOR.services_by_name["WorkflowService"].methods
}
_UNAUTHORIZED = "Request unauthorized."
_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class CloudProxy(grpc.GenericRpcHandler):
    """Temporal as Temporal Cloud lets one namespace have it, on a port of loopback, with TLS."""

    def __init__(
        self,
        upstream: str,
        server: Signed,
        *,
        namespace: str,
        client_ca: bytes | None = None,
        api_key: str | None = None,
        lists_search_attributes: bool = False,
    ) -> None:
        """A client has to have a certificate that `client_ca` has signed, or the API key."""
        self._upstream = upstream
        self._credentials = grpc.ssl_server_credentials(
            [(server.key.read_bytes(), server.certificate.read_bytes())],
            root_certificates=client_ca,
            require_client_auth=client_ca is not None,
        )
        self._namespace = namespace
        self.api_key = api_key
        self._lists_search_attributes = lists_search_attributes
        self.refused: list[str] = []
        """The calls that were refused, for each time."""
        self.passed: set[str] = set()
        """The calls that were let through."""
        self._port = 0
        self._server: grpc.aio.Server | None = None
        self._channel: grpc.aio.Channel | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, on the same port as before if it has listened before."""
        self._channel = grpc.aio.insecure_channel(self._upstream, options=_OPTIONS)
        self._server = grpc.aio.server(handlers=[self], options=[*_OPTIONS, ("grpc.so_reuseport", 0)])
        self._port = self._server.add_secure_port(self.address, self._credentials)
        await self._server.start()

    async def stop(self) -> None:
        """Close all connections at once."""
        if self._server is not None and self._channel is not None:
            server, channel = self._server, self._channel
            self._server = self._channel = None
            await server.stop(0)
            await channel.close(0)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        path = handler_call_details.method
        metadata = {key: str(value) for key, value in handler_call_details.invocation_metadata or ()}

        async def forward(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            if (refusal := self._refusal(path, metadata, request)) is not None:
                self.refused.append(path.rpartition("/")[2])
                await context.abort(*refusal)
            self.passed.add(path.rpartition("/")[2])
            return await self._forward(path, request, context, handler_call_details.invocation_metadata or ())

        return grpc.unary_unary_rpc_method_handler(forward)

    def _refusal(self, path: str, metadata: Mapping[str, str], request: bytes) -> tuple[grpc.StatusCode, str] | None:
        if self.api_key is not None and metadata.get("authorization") != f"Bearer {self.api_key}":
            return grpc.StatusCode.UNAUTHENTICATED, "invalid API key"
        service, _, method = path.removeprefix("/").partition("/")
        if service != _WORKFLOW_SERVICE:
            allowed = self._lists_search_attributes and path == _LIST_SEARCH_ATTRIBUTES
            return None if allowed else (grpc.StatusCode.PERMISSION_DENIED, _UNAUTHORIZED)
        if method == "GetSystemInfo":
            return (grpc.StatusCode.PERMISSION_DENIED, _UNAUTHORIZED) if "temporal-namespace" in metadata else None
        sent: Any = _REQUESTS[method].FromString(request)
        asked = getattr(sent, "namespace", None)
        known = asked == self._namespace == metadata.get("temporal-namespace")
        return None if known and method not in REFUSED else (grpc.StatusCode.PERMISSION_DENIED, _UNAUTHORIZED)

    async def _forward(
        self,
        path: str,
        request: bytes,
        context: grpc.aio.ServicerContext[bytes, bytes],
        metadata: Sequence[tuple[str, str | bytes]],
    ) -> bytes:
        assert self._channel is not None
        call: Callable[..., Any] = self._channel.unary_unary(path)
        passed = [(key, value) for key, value in metadata if key not in {"authorization", "user-agent", "te"}]
        try:
            return await call(request, metadata=passed, timeout=context.time_remaining())
        except grpc.aio.AioRpcError as error:
            # The details of an error, such as what a failed query or a workflow that has been started says, lie in a
            # trailer of it.
            await context.abort(error.code(), error.details() or "", tuple(error.trailing_metadata() or ()))
            raise AssertionError from error
