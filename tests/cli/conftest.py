from __future__ import annotations

import pytest

from stack import ports


@pytest.fixture
def free_port() -> int:
    return ports.claim({"--port": 0})["--port"]
