"""What is in the two distributions, and what the runtime needs."""

from __future__ import annotations

import ast
import sys
import zipfile
from datetime import timedelta
from pathlib import Path

import pytest

from callboard.machines.runner.main import RUNTIME
from callboard.projects.uv import run_uv
from callboard.settings import installed_version
from tests.support.repository import REPOSITORY

INFO = f"callboard_runtime-{installed_version()}.dist-info"


async def built(folder: Path, into: Path) -> zipfile.ZipFile:
    await run_uv("build", "--wheel", "--quiet", "--out-dir", into, cwd=folder, timeout=timedelta(minutes=2))
    (wheel,) = into.glob("*.whl")
    return zipfile.ZipFile(wheel)


async def test_the_runtime_is_typed_packages_that_need_playwright(packages: None, tmp_path: Path):
    with await built(RUNTIME, tmp_path) as wheel:
        names = wheel.namelist()
        assert {name.partition("/")[0] for name in names} == {
            "callboard_runtime",
            "intuned_runtime",
            "_intuned_runtime_internal",
            INFO,
        }
        assert {"callboard_runtime/py.typed", "intuned_runtime/py.typed"} <= set(names)
        metadata = wheel.read(f"{INFO}/METADATA").decode()
    needed = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert needed == ["Requires-Dist: playwright"]


async def test_the_application_has_the_runtime_and_the_templates(packages: None, tmp_path: Path):
    with await built(REPOSITORY, tmp_path) as wheel:
        names = set(wheel.namelist())
    for folder in ("runtime", "callboard/projects/templates"):
        files = [path for path in (REPOSITORY / folder).rglob("*") if path.is_file() and path.suffix != ".pyc"]
        assert files
        assert {str(path.relative_to(REPOSITORY)) for path in files} <= names


@pytest.mark.parametrize("file", sorted(RUNTIME.rglob("*.py")), ids=lambda file: file.name)
def test_the_runtime_imports_the_standard_library_and_playwright(file: Path):
    imported: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            imported.add((node.module or "").partition(".")[0])
    # Python 3.14 has `annotationlib`.
    allowed = {*sys.stdlib_module_names, "annotationlib", "playwright", "intuned_runtime", "callboard_runtime"}
    assert imported <= allowed | ({"pytest"} if file.name == "pytest_plugin.py" else set())
