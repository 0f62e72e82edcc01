"""What a deploy sees in the code of an API: only what cannot work."""

from collections.abc import Callable
from pathlib import Path

import pytest

from callboard.projects.code_checks import check_imports, look_at_code, modules_in
from callboard.projects.deploy import deploy
from callboard.storage.folder import FolderStore

Make = Callable[..., Path]

WORKS = "async def automation(page): ...\n"
NO_FUNCTION = "api/list.py: there is no function automation; write `async def automation(page, params)`"
UNKNOWN = "the module pandas is neither in the project nor in a package that it declares"


def said(folder: Path, code: str, *installed: str, name: str = "list") -> list[str]:
    packages = folder.parent / "packages"
    packages.mkdir(exist_ok=True)
    for each in installed:
        (packages / each).touch()
    (folder / "api" / f"{name}.py").write_text(code)
    return [str(warning) for warning in check_imports(look_at_code(folder, [name]), modules_in(packages))]


@pytest.mark.parametrize(
    ("code", "warning"),
    [
        ("", NO_FUNCTION),
        ("def other():\n    automation = 1\n", NO_FUNCTION),
        ("class A:\n    async def automation(page): ...\n", NO_FUNCTION),
        (
            "\ndef automation(page): ...\n",
            "api/list.py, line 2: automation is not a coroutine function; write `async def automation`",
        ),
        (f"import pandas as pd\n{WORKS}", f"api/list.py, line 1: {UNKNOWN}"),
        (f"from pandas.io import json\n{WORKS}", f"api/list.py, line 1: {UNKNOWN}"),
        ("async def automation(page):\n    import pandas\n", f"api/list.py, line 2: {UNKNOWN}"),
    ],
)
def test_what_cannot_work_is_said(make_project: Make, code: str, warning: str):
    (found,) = said(make_project(), code)
    assert found.startswith(warning)


@pytest.mark.parametrize(
    "code",
    [
        "from helpers import automation\n",
        "from helpers import *\n",
        "if True:\n    async def automation(page): ...\nelse:\n    automation = None\n",
        "@made\ndef automation(page): ...\n",
        "automation = make()\n",
        "async def check(page): ...\n",
        "def broken(",
        f"try:\n    import pandas\nexcept ImportError:\n    pandas = None\n{WORKS}",
        f"if TYPE_CHECKING:\n    import pandas\n{WORKS}",
        f"import asyncio, helpers.deep, yaml, numpy, google.cloud\nfrom . import x\n{WORKS}",
        f"from intuned_runtime import y\nfrom playwright.async_api import Page\n{WORKS}",
        f"from callboard_runtime import RetryLater\n{WORKS}",
        f"from api import other\nimport telnetlib\n{WORKS}",
    ],
)
def test_what_may_work_is_left_alone(make_project: Make, code: str):
    folder = make_project({"helpers.py": "async def automation(page): ..."})
    assert said(folder, code, "yaml", "numpy.cpython-313-x86_64-linux-gnu.so", "google") == []


def test_a_package_may_lead_to_modules_elsewhere(make_project: Make, tmp_path: Path):
    (tmp_path / "elsewhere" / "pandas").mkdir(parents=True)
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "x.pth").write_text(f"import _virtualenv\n{tmp_path / 'elsewhere'}\n")
    assert said(make_project(), f"import pandas\n{WORKS}") == []


async def test_a_deploy_warns_of_it(make_project: Make, store: FolderStore):
    folder = make_project({"api/bad/noauto.py": "", "api/bad/importerr.py": f"import undeclared_module\n{WORKS}"})
    warnings = (await deploy(folder, store)).warnings
    assert [(warning.file, warning.line) for warning in warnings] == [
        ("api/bad/importerr.py", 1),
        ("api/bad/noauto.py", None),
    ]
