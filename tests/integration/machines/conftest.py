"""Fixtures of the Machines' tests; `tests/support/machines.py` has what they give."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from callboard.machines.attempt_spec import Version
from tests.support.keepers import Keep, keepers
from tests.support.machines import Lab, Run, open_lab


@pytest.fixture
def keep(tmp_path: Path) -> Iterator[Keep]:
    """For tests of keepers, without a Machine."""
    with keepers(tmp_path) as keep:
        yield keep


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """For tests that need Machines of their own."""
    async with open_lab(tmp_path) as lab:
        yield lab


@pytest.fixture(scope="module")
async def shared_lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    """For tests of a module that share a Machine, though some of them end it: see `One`."""
    async with open_lab(tmp_path_factory.mktemp("shared")) as lab:
        yield lab


@pytest.fixture(scope="module")
async def quiet_lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    """Where `quiet` has its Machine."""
    async with open_lab(tmp_path_factory.mktemp("quiet")) as lab:
        yield lab


@pytest.fixture(scope="module")
def quiet_version(request: pytest.FixtureRequest, quiet_lab: Lab) -> Version:
    """The module's `PROJECT` as `quiet` runs it."""
    return quiet_lab.version(request.module.PROJECT)


@pytest.fixture(scope="module")
async def quiet(quiet_lab: Lab, quiet_version: Version) -> AsyncIterator[Run]:
    """Runs an API of the module's `PROJECT` on the one warm Machine of the module.

    The Machine is there before and after each Attempt: what recycles it does not belong into such a test.
    """
    pool = quiet_lab.pool()
    yield quiet_lab.runner(quiet_version, pool)
    machine = await quiet_lab.settled(pool)
    assert machine is not None
    assert machine.name == "lab-1-1", "the Machine was recycled under a test that should have left it alone"
