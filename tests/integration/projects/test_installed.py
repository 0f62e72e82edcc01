"""What an Attempt finds in the environment of its project: resolved and installed by uv, on a real Machine."""

from __future__ import annotations

import re
import sys
import textwrap
from datetime import timedelta
from importlib.metadata import version as version_of
from pathlib import Path

import pytest

from callboard.machines.runner import main as runner
from callboard.projects.interpreters import own_interpreter
from callboard.projects.manifest import OwnEnvironment
from callboard.projects.uv import UvError, run_uv
from tests.support.machines import attempt_of, value
from tests.support.project_host import Host, listing
from tests.support.repository import REPOSITORY

PLAYWRIGHT = version_of("playwright")


async def test_a_package_and_what_it_needs_can_be_imported_and_nothing_of_ours(host: Host, whole_playwright: None):
    manifest = await host.deploy({"requirements.txt": "python-slugify\n"})
    assert manifest.warnings == ()
    assert isinstance(manifest.environment, OwnEnvironment)
    assert manifest.environment.source == "requirements.txt"
    ours_only = ["temporalio", "pydantic", "fastapi", "callboard", "workflows", "api.app", "worker", "pip", "uv"]
    here = await host.here(manifest, "slugify", "text_unidecode", "playwright", "intuned_runtime", *ours_only)
    environment = host.root / host.built()[0]
    inside = f"{environment}/lib/python{own_interpreter().minor}/site-packages/"
    for name in ("slugify", "text_unidecode", "playwright"):
        assert here["found"][name].startswith(inside), name
    assert here["found"]["intuned_runtime"] == str(
        Path(runner.__file__).parents[3] / "runtime/intuned_runtime/__init__.py"
    )
    assert {name: here["found"][name] for name in ours_only} == dict.fromkeys(ours_only)
    assert here["playwright"] == PLAYWRIGHT
    assert here["page"] == "here"
    assert (here["prefix"], here["executable"]) == (str(environment), f"{environment}/bin/python")
    assert Path(inside, "playwright", "driver", "node").is_file(), "user code may start a driver, too"


async def test_playwright_and_the_runtime_are_ours_whatever_the_project_lists(host: Host):
    project = """
        [project]
        name = "shop"
        version = "1"
        requires-python = ">=3.12"
        dependencies = ["playwright==1.49.0", "intuned-runtime==1.3.41", "python-slugify>=8"]
        [tool.uv]
        package = false
    """
    manifest = await host.deploy({"pyproject.toml": textwrap.dedent(project)})
    assert isinstance(manifest.environment, OwnEnvironment)
    assert manifest.environment.source == "pyproject.toml"
    here = await host.here(manifest, "intuned_runtime", "_intuned_runtime_internal", "slugify")
    assert here["playwright"] == PLAYWRIGHT
    for ours in ("intuned_runtime", "_intuned_runtime_internal"):
        assert here["found"][ours].startswith(str(Path(runner.__file__).parents[3] / "runtime"))
    assert here["found"]["slugify"]


async def test_follows_paths_of_installed_packages_and_ours_hide_none(host: Host, wheels: Path):
    here = await host.here(await host.deploy(listing("gamma")), "hidden", "temporalio")
    assert here["found"]["hidden"]
    assert "environments" in here["found"]["temporalio"]


async def test_a_python_that_is_not_here_is_a_warning(host: Host):
    files = {"pyproject.toml": '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.99"\n'}
    files["pyproject.toml"] += 'dependencies = ["text-unidecode"]\n'
    manifest = await host.deploy(files)
    (warning,) = manifest.warnings
    assert str(warning).startswith("pyproject.toml: no Python >=3.99 is installed here")
    assert str(warning).endswith(f"the project runs on {own_interpreter().version}")
    here = await host.here(manifest, "text_unidecode")
    assert here["found"]["text_unidecode"]
    assert here["version"] == list(sys.version_info[:2])


async def test_another_python_of_this_host_is_taken_if_the_project_wants_it(host: Host):
    wanted = f">=3.12,<3.15,!={own_interpreter().minor}.*"
    find = ("python", "find", "--system", "--no-project", "--no-python-downloads", f"cpython{wanted}")
    try:
        await run_uv(*find, cwd=REPOSITORY, timeout=timedelta(seconds=60))
    except UvError:
        pytest.skip("there is only one Python that the packages were fetched for on this host")
    head = f'[project]\nname = "shop"\nversion = "1"\nrequires-python = "{wanted}"\n'
    manifest = await host.deploy({"pyproject.toml": head + 'dependencies = ["text-unidecode"]\n'})
    assert manifest.warnings == ()
    here = await host.here(manifest, "text_unidecode")
    assert here["found"]["text_unidecode"]
    assert here["version"] != list(sys.version_info[:2])
    assert here["page"] == "here"


async def test_the_project_of_the_docs_runs_with_its_package(host: Host):
    page = (REPOSITORY / "docs" / "projects.md").read_text()
    shown = re.findall(r"^`my-projects/sizes/([^`]+)`\n\n```\w+\n(.*?)```", page, flags=re.DOTALL | re.MULTILINE)
    manifest = await host.deploy(dict(shown), name="sizes")
    assert manifest.warnings == ()
    pool = host.lab.pool(project="sizes")
    report = await pool.run_attempt(await host.version(manifest), attempt_of("tell", {"bytes": 2_000_000}))
    assert value(report) == "2.0 MB"
