"""A port that nobody listens on, and an api that answers as it is told."""

from collections.abc import Generator

import pytest

from callboard.dev import ports
from tests.support.fake_api import FakeApi


@pytest.fixture
def free_port() -> int:
    return ports.choose_ports({"--port": 0})["--port"]


@pytest.fixture
def api() -> Generator[FakeApi]:
    with FakeApi.served() as served:
        yield served
