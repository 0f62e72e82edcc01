"""Fixtures of the Machines' tests; `tests/support/machines.py` has what they give."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from callboard.machines.attempt_spec import Version
from tests.support.keepers import Keep, keepers
from tests.support.machines import Lab, Language, Run, open_lab


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with a project in Python, or in what it is marked with: `typescript`, or `both_languages`."""
    if "language" in metafunc.fixturenames:
        python = pytest.param(Language.PYTHON, id=pytest.HIDDEN_PARAM)
        typescript = pytest.param(Language.TYPESCRIPT, id="typescript")
        chosen = [python]
        if metafunc.definition.get_closest_marker("both_languages") is not None:
            chosen = [python, typescript]
        elif metafunc.definition.get_closest_marker("typescript") is not None:
            chosen = [typescript]
        metafunc.parametrize("language", chosen, indirect=True, scope="module")


@pytest.fixture(scope="module")
def language(request: pytest.FixtureRequest) -> Language:
    """What the project of the test is written in: its files are those of the module's `PROJECT`, or `TYPESCRIPT`."""
    return request.param


@pytest.fixture(scope="module")
def project(request: pytest.FixtureRequest, language: Language) -> dict[str, str]:
    """The files of the test's project."""
    return request.module.TYPESCRIPT if language is Language.TYPESCRIPT else request.module.PROJECT


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
def quiet_version(project: dict[str, str], language: Language, quiet_lab: Lab) -> Version:
    """The test's project as `quiet` runs it."""
    return quiet_lab.version(project, project=language)


@pytest.fixture(scope="module")
async def quiet(quiet_lab: Lab, quiet_version: Version) -> AsyncIterator[Run]:
    """Runs an API of the test's project on the one warm Machine of the module and language.

    The Machine is there before and after each Attempt: what recycles it does not belong into such a test.
    """
    pool = quiet_lab.pool(project=quiet_version.project)
    yield quiet_lab.runner(quiet_version, pool)
    machine = await quiet_lab.settled(pool)
    assert machine is not None
    assert machine.name == f"{quiet_version.project}-1-1", (
        "the Machine was recycled under a test that should have left it alone"
    )
