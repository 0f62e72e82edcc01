"""A real api for commands, a port that nobody listens on, and answers that no real api can be brought to give."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import Any

import httpx
import pytest

from callboard.dev import ports
from tests.support.api_in_process import Api
from tests.support.api_in_process import api as api
from tests.support.api_in_process import artifacts as artifacts
from tests.support.api_in_process import deployed as deployed
from tests.support.api_in_process import make_api as make_api
from tests.support.api_in_process import make_project_api as make_project_api
from tests.support.commands import Commands


@pytest.fixture
def free_port() -> int:
    return ports.choose_ports({"--port": 0})["--port"]


@pytest.fixture
async def cli(api: Api) -> AsyncGenerator[Commands]:
    """Commands for `api`."""
    async with api.served() as url:
        yield Commands(api, url)


Answer = Callable[..., list[httpx.Request]]
"""Has commands answered in turn, the last answer for ever: a status with bytes, or with JSON. Returns what is asked."""


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Answer:
    def answer(*answers: tuple[int, Any]) -> list[httpx.Request]:
        asked: list[httpx.Request] = []
        left = list(answers)

        def respond(request: httpx.Request) -> httpx.Response:
            asked.append(request)
            status, content = left[0] if len(left) == 1 else left.pop(0)
            text = content if isinstance(content, bytes) else json.dumps(content).encode()
            return httpx.Response(status, content=text)

        monkeypatch.setattr(httpx, "Client", partial(httpx.Client, transport=httpx.MockTransport(respond)))
        return asked

    return answer
