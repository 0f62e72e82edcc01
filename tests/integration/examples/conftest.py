"""A real browser, and the code of an example project as it is imported on a Machine."""

from __future__ import annotations

import importlib
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from playwright.async_api import Browser, Page

from tests.support.browser import browser as browser
from tests.support.repository import REPOSITORY

RUNTIME = REPOSITORY / "runtime"


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    context = await browser.new_context()
    yield await context.new_page()
    await context.close()


@pytest.fixture
def project_modules(request: pytest.FixtureRequest) -> Iterator[None]:
    """The folder `PROJECT` of the test's module alone on the path for its packages; ours are back afterwards."""

    def set_aside() -> dict[str, ModuleType]:
        ours = [name for name in sys.modules if name.partition(".")[0] in {"api", "auth-sessions", "utils"}]
        return {name: sys.modules.pop(name) for name in ours}

    before, paths = set_aside(), sys.path[:]
    # In these tests our own package `api` has an __init__.py, and would win over the project's, which has none.
    others = [path for path in paths if not (Path(path) / "api" / "__init__.py").exists()]
    sys.path[:] = [str(request.module.PROJECT), str(RUNTIME), *others]
    importlib.invalidate_caches()
    yield
    sys.path[:] = paths
    set_aside()
    sys.modules.update(before)
