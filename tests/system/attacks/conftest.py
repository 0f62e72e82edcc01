"""The installations in which attacks are tried; see SECURITY.md for what they show."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.machines import Language
from tests.system.attacks.installation import KINDS, TYPESCRIPT_ON, Installation, installed


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test on all kinds of installations, or those that it is marked with; with `language`, in both languages."""
    if "installation" not in metafunc.fixturenames:
        return
    marked = metafunc.definition.get_closest_marker("kinds")
    names = list(marked.args) if marked is not None else list(KINDS)
    if "language" not in metafunc.fixturenames:
        metafunc.parametrize("installation", names, indirect=True, scope="session")
        return
    rows = [pytest.param(name, Language.PYTHON, id=name) for name in names]
    rows += [
        pytest.param(name, Language.TYPESCRIPT, id=f"{name}-typescript") for name in names if name in TYPESCRIPT_ON
    ]
    metafunc.parametrize(("installation", "language"), rows, indirect=["installation"], scope="session")


@pytest.fixture(scope="session")
async def installation(request: pytest.FixtureRequest) -> AsyncIterator[Installation]:
    """One that all attacks on its kind share; each process of pytest has one at a time."""
    async with installed(KINDS[request.param]) as running:
        yield running
