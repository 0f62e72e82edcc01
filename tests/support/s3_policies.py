"""The policies of docs/store.md, as S3 would enforce them: a proxy before a store that has none."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qsl

import httpx
import uvicorn
from starlette.types import Receive, Scope, Send

from callboard.dev import ports
from tests.support.api_in_process import QuietServer
from tests.support.repository import REPOSITORY

_KEY = re.compile(r"Credential=([^/]+)/")
_HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive", "expect"}
_ACTIONS = {"GET": "s3:GetObject", "HEAD": "s3:GetObject", "PUT": "s3:PutObject", "DELETE": "s3:DeleteObject"}
_DENIED = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


def documented(who: str, bucket: str) -> list[dict[str, Any]]:
    """Return the statements of one of the policies in docs/store.md, for this bucket."""
    page = (REPOSITORY / "docs" / "store.md").read_text("utf-8")
    (found,) = re.findall(rf"^`{who}-policy\.json`\n\n```json\n(.*?)```", page, flags=re.DOTALL | re.MULTILINE)
    return json.loads(found.replace("BUCKET", bucket))["Statement"]


def _allows(statement: dict[str, Any], action: str, resource: str, prefix: str | None) -> bool:
    """Whether a statement allows an action; `prefix` is that of a list, and None of any other request."""
    actions, resources = (
        value if isinstance(value, list) else [value] for value in (statement["Action"], statement["Resource"])
    )
    if action not in actions or not any(fnmatchcase(resource, pattern) for pattern in resources):
        return False
    condition: dict[str, Any] = statement.get("Condition", {})
    assert set(condition) <= {"StringLike"}
    for name, patterns in condition.get("StringLike", {}).items():
        assert name == "s3:prefix"
        if prefix is None or not any(fnmatchcase(prefix, pattern) for pattern in patterns):
            return False
    return True


@dataclass
class PolicyProxy:
    """An ASGI application that forwards what the policy of a request's key allows, and answers 403 to all else."""

    upstream: str
    policies: Mapping[str, list[dict[str, Any]]]
    """The statements for each access key."""
    allowed: set[tuple[str, str, str]] = field(default_factory=set[tuple[str, str, str]])
    """Key, action, and first part of the object's key, of requests that were forwarded."""
    denied: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    """Key, action and resource of those that were not."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        assert scope["type"] == "http"
        headers = [(name.decode(), value.decode("latin-1")) for name, value in scope["headers"]]
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        key = _KEY.search(dict(headers).get("authorization", ""))
        bucket, _, name = scope["path"].lstrip("/").partition("/")
        action = _ACTIONS[scope["method"]] if name else "s3:ListBucket"
        resource = f"arn:aws:s3:::{bucket}/{name}" if name else f"arn:aws:s3:::{bucket}"
        who = key[1] if key else ""
        query = scope["query_string"].decode()
        prefix = None if name else dict(parse_qsl(query)).get("prefix")
        if not self._is_allowed(who, action, resource, prefix):
            self.denied.append((who, action, resource))
            await _answer(send, 403, [(b"content-type", b"application/xml")], _DENIED)
            return
        self.allowed.add((who, action, name.partition("/")[0]))
        place = scope["raw_path"].decode().partition("?")[0] + (f"?{query}" if query else "")
        passed = [(name, value) for name, value in headers if name not in _HOP_BY_HOP]
        async with (
            httpx.AsyncClient(trust_env=False, timeout=60) as http,
            http.stream(scope["method"], f"{self.upstream}{place}", headers=passed, content=body) as answer,
        ):
            raw = b"".join([part async for part in answer.aiter_raw()])
            may_list = self._is_allowed(who, "s3:ListBucket", f"arn:aws:s3:::{bucket}", None)
            if answer.status_code == 404 and action == "s3:GetObject" and not may_list:
                await _answer(send, 403, [(b"content-type", b"application/xml")], _DENIED)  # it is a secret
                return
            kept = [pair for pair in answer.headers.raw if pair[0].decode().lower() not in _HOP_BY_HOP]
            await _answer(send, answer.status_code, kept, raw)

    def _is_allowed(self, who: str, action: str, resource: str, prefix: str | None) -> bool:
        return any(_allows(statement, action, resource, prefix) for statement in self.policies.get(who, []))


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def policy_proxy(
    upstream: str, policies: Mapping[str, list[dict[str, Any]]]
) -> AsyncGenerator[tuple[PolicyProxy, int]]:
    """Run the proxy on a free port, which it yields beside it."""
    proxy, port = PolicyProxy(upstream, policies), ports.choose_ports({"": 0})[""]
    config = uvicorn.Config(
        proxy, host="127.0.0.1", port=port, log_level="warning", lifespan="off", server_header=False
    )
    async with QuietServer.running(config):
        yield proxy, port
