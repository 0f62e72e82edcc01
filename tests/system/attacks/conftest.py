"""The installations in which attacks are tried; see SECURITY.md for what they show."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.system.attacks.installation import KINDS, Installation, installed


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "installation" in metafunc.fixturenames:
        marked = metafunc.definition.get_closest_marker("kinds")
        names = list(marked.args) if marked is not None else list(KINDS)
        metafunc.parametrize("installation", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
async def installation(request: pytest.FixtureRequest) -> AsyncIterator[Installation]:
    """One that all attacks on its kind share; each process of pytest has one at a time."""
    async with installed(KINDS[request.param]) as running:
        yield running
