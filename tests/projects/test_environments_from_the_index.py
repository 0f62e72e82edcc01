"""Environments as they are: resolved and installed by uv from the package index, and run on real Machines.

All tests of this module need an index (or uv's cache of one), at least for Playwright.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import pytest

from activities.environments import ProjectEnvironments
from contract.errors import MachineError, ProjectError
from machines.order import Version
from machines.runner import main as runner
from projects import environments as module
from projects import resolving
from projects.deploy import deploy
from projects.environments import Environments
from projects.interpreters import ours
from projects.manifest import Manifest
from projects.uv import UvError, run_uv
from projects.versions import VersionFolders
from storage import keys
from storage.folder import FolderStore
from tests.machines.lab import Lab, open_lab, order, unnoticed, value
from tests.projects.wheels import make_wheel
from tests.storage.s3_server import BUCKET, s3_server

REPOSITORY = Path(__file__).parents[2]
PLAYWRIGHT = version_of("playwright")
SOON = timedelta(seconds=5)

WHAT_IS_HERE = """
import importlib.metadata, sys

async def automation(page, params):
    found = {}
    for name in params:
        try:
            module = __import__(name, fromlist=["x"])
            found[name] = getattr(module, "__file__", None) or str(module)
        except ImportError as error:
            found[name] = None
    await page.set_content("<h1>here</h1>")
    return {
        "found": found,
        "playwright": importlib.metadata.version("playwright"),
        "page": await page.inner_text("h1"),
        "prefix": sys.prefix,
        "executable": sys.executable,
        "version": list(sys.version_info[:2]),
    }
"""


@dataclass
class Host:
    """A host that deploys projects and executes Attempts of them."""

    lab: Lab
    store: FolderStore
    environments: Environments
    root: Path
    versions: VersionFolders
    make: Callable[..., Path]

    async def deploy(self, files: dict[str, str], name: str = "shop") -> Manifest:
        folder = self.make({"api/here.py": WHAT_IS_HERE, **files}, name=name)
        return await deploy(folder, self.store, self.environments)

    async def version(self, manifest: Manifest) -> Version:
        """As a worker makes it, that has not seen the project before."""
        folder = await self.versions.ensure(manifest.project, manifest.version)
        worker = ProjectEnvironments(self.store, self.environments, None)
        around = await worker.of(manifest, folder, patience=SOON)
        plain = Version(manifest.project, manifest.version, folder, 4 * 1024**3, 1024, 800)
        return replace(plain, python=around.python)

    async def here(self, manifest: Manifest, *names: str) -> Any:
        """What an Attempt finds of the modules `names`."""
        pool = self.lab.pool(project=manifest.project)
        return value(await pool.run(await self.version(manifest), order("here", list(names)), unnoticed))

    def built(self) -> list[str]:
        return sorted(path.name for path in self.root.iterdir())


@pytest.fixture
async def host(tmp_path: Path, store: FolderStore, make_project: Callable[..., Path]) -> AsyncIterator[Host]:
    (tmp_path / "lab").mkdir()
    async with open_lab(tmp_path / "lab") as lab:
        root = tmp_path / "environments"
        versions = VersionFolders(store, tmp_path / "versions")
        yield Host(lab, store, Environments(root), root, versions, make_project)


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A folder of packages: `alpha` needs `beta<2`, and `gamma` a Python module path of its own."""
    folder = tmp_path / "wheels"
    make_wheel(folder, "alpha", requires=("beta<2",))
    make_wheel(folder, "beta", "1.0")
    make_wheel(folder, "beta", "2.0")
    make_wheel(folder, "gamma", files={"gamma.pth": "below\n", "below/hidden.py": "", "temporalio.py": "MINE = True"})
    return folder


def listing(wheels: Path, *requirements: str) -> dict[str, str]:
    """A `requirements.txt` that finds these packages in `wheels`, and all others in the index."""
    return {"requirements.txt": "\n".join([f"--find-links {wheels}", *requirements, ""])}


async def test_a_small_package_of_the_index_and_what_it_needs_can_be_imported_and_nothing_of_ours(host: Host):
    manifest = await host.deploy({"requirements.txt": "python-slugify\n"})
    assert manifest.warnings == ()
    assert manifest.environment is not None
    assert manifest.environment.source == "requirements.txt"
    ours_only = ["temporalio", "pydantic", "fastapi", "contract", "machines", "projects", "worker", "pip", "uv"]
    here = await host.here(manifest, "slugify", "text_unidecode", "playwright", "intuned_runtime", *ours_only)
    (environment,) = host.root.iterdir()
    inside = f"{environment}/lib/python{ours().minor}/site-packages/"
    for name in ("slugify", "text_unidecode", "playwright"):
        assert here["found"][name].startswith(inside), name
    assert here["found"]["intuned_runtime"] == str(Path(runner.__file__).parent / "site/intuned_runtime/__init__.py")
    assert {name: here["found"][name] for name in ours_only} == dict.fromkeys(ours_only)
    assert here["playwright"] == PLAYWRIGHT
    assert here["page"] == "here"
    assert (here["prefix"], here["executable"]) == (str(environment), f"{environment}/bin/python")


async def test_playwright_and_the_runtime_are_ours_whatever_the_project_lists_from_the_index(host: Host):
    project = """
        [project]
        name = "shop"
        version = "1"
        requires-python = ">=3.12"
        dependencies = ["playwright==1.49.0", "intuned-runtime==1.3.41", "python-slugify<8"]
        [tool.uv]
        package = false
    """
    manifest = await host.deploy({"pyproject.toml": textwrap.dedent(project)})
    assert manifest.environment is not None
    assert manifest.environment.source == "pyproject.toml"
    here = await host.here(manifest, "intuned_runtime", "_intuned_runtime_internal", "slugify")
    assert here["playwright"] == PLAYWRIGHT
    assert here["found"]["intuned_runtime"].startswith(str(Path(runner.__file__).parent))
    assert here["found"]["_intuned_runtime_internal"] is None
    assert here["found"]["slugify"]


async def test_paths_that_an_installed_package_adds_are_followed_and_ours_hide_nothing_index(host: Host, wheels: Path):
    here = await host.here(await host.deploy(listing(wheels, "gamma")), "hidden", "temporalio")
    assert here["found"]["hidden"]
    assert "environments" in here["found"]["temporalio"]


async def test_uv_lock_gives_the_versions_from_the_index(host: Host, tmp_path: Path):
    folder = tmp_path / "locked"
    folder.mkdir()
    head = '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.12"\n'
    (folder / "pyproject.toml").write_text(head + 'dependencies = ["text-unidecode==1.2", "playwright==1.49.0"]\n')
    await run_uv("lock", "--quiet", "--python", sys.executable, cwd=folder, within=timedelta(seconds=60))
    files = {
        "pyproject.toml": head + 'dependencies = ["text-unidecode", "playwright==1.49.0"]\n',
        "uv.lock": (folder / "uv.lock").read_text(),
    }
    manifest = await host.deploy(files)
    stored = await stored_list(host, manifest)
    assert "text-unidecode==1.2" in stored
    assert f"playwright=={PLAYWRIGHT}" in stored


async def stored_list(host: Host, manifest: Manifest) -> str:
    assert manifest.environment is not None
    stored = await host.store.get(keys.environment(manifest.project, manifest.environment.declaration))
    assert stored is not None
    return stored.decode()


async def test_the_stored_list_has_hashes_and_no_address_of_the_index(host: Host):
    stored = await stored_list(host, await host.deploy({"requirements.txt": "text-unidecode\n"}))
    assert "text-unidecode==1.3 \\\n    --hash=sha256:" in stored
    assert "://" not in stored
    assert not any(
        line.lstrip().startswith(("#", "-i", "--index", "--extra", "--find")) for line in stored.splitlines()
    )


async def test_a_change_of_code_is_no_change_of_packages_though_the_index_has_others(host: Host, wheels: Path):
    first = await host.deploy(listing(wheels, "beta"))
    make_wheel(wheels, "beta", "3.0")
    second = await host.deploy(
        {**listing(wheels, "beta"), "api/list.py": "async def automation(page):\n    return 2\n"}
    )
    assert second.version != first.version
    assert second.environment == first.environment
    assert "beta==2.0" in await stored_list(host, second)
    third = await host.deploy(listing(wheels, "# look again", "beta"))
    assert "beta==3.0" in await stored_list(host, third)


@pytest.mark.parametrize(
    ("requirements", "expected"),
    [
        (
            ["callboard-has-no-such-package"],
            r"there is no package callboard-has-no-such-package in the package index\.",
        ),
        (["text-unidecode==99"], r"there is no version of text-unidecode==99 in the package index\."),
        (["alpha", "beta==2.0"], r"alpha depend on beta<2.* beta==2\.0.* cannot all be met\.$"),
        (["greenlet==1.0"], rf"depends on greenlet.* Playwright is held at {PLAYWRIGHT}\."),
        (["six=1"], r"no such comparison operator"),
        (["./local"], r"\./local is a folder or file on this machine"),
    ],
)
async def test_what_cannot_be_resolved_from_the_index_fails_the_deploy_in_a_sentence(
    host: Host, wheels: Path, requirements: list[str], expected: str
):
    local = {"local/pyproject.toml": '[project]\nname = "local"\nversion = "1"\n'}
    with pytest.raises(ProjectError, match=rf"^requirements\.txt: .*{expected}") as failed:
        await host.deploy({**local, **listing(wheels, *requirements)})
    assert len(failed.value.message) < 700
    assert "callboard-deploy" not in failed.value.message
    assert [key async for key in host.store.list("")] == []


async def test_a_package_of_the_index_that_cannot_be_built_fails_the_deploy_with_its_reason(
    host: Host, wheels: Path, tmp_path: Path
):
    source = tmp_path / "broken-1.0"
    source.mkdir()
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "broken"\nversion = "1.0"\n'
    )
    (source / "backend.py").write_text("raise RuntimeError('needs libfoo 3')\n")
    archive = shutil.make_archive(str(wheels / "broken-1.0"), "gztar", tmp_path, "broken-1.0")
    assert archive.endswith("broken-1.0.tar.gz")
    with pytest.raises(
        ProjectError, match=r"^requirements\.txt: .*broken==1\.0 cannot be built here: .*needs libfoo 3"
    ):
        await host.deploy(listing(wheels, "broken"))
    assert host.built() == []


async def test_a_python_that_is_not_here_is_a_warning_with_packages_of_the_index(host: Host):
    files = {"pyproject.toml": '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.99"\n'}
    files["pyproject.toml"] += 'dependencies = ["text-unidecode"]\n'
    manifest = await host.deploy(files)
    (warning,) = manifest.warnings
    assert str(warning).startswith("pyproject.toml: no Python >=3.99 is installed here")
    assert str(warning).endswith(f"the project runs on {ours().version}")
    here = await host.here(manifest, "text_unidecode")
    assert here["found"]["text_unidecode"]
    assert here["version"] == list(sys.version_info[:2])


async def test_another_python_of_this_host_is_taken_if_the_project_wants_it_with_packages_of_the_index(host: Host):
    wanted = f">=3.12,!={ours().minor}.*"
    find = ("python", "find", "--system", "--no-project", "--no-python-downloads", f"cpython{wanted}")
    try:
        await run_uv(*find, cwd=REPOSITORY, within=timedelta(seconds=60))
    except UvError:
        pytest.skip("there is only one Python of 3.12 or later on this host")
    head = f'[project]\nname = "shop"\nversion = "1"\nrequires-python = "{wanted}"\n'
    manifest = await host.deploy({"pyproject.toml": head + 'dependencies = ["text-unidecode"]\n'})
    assert manifest.warnings == ()
    here = await host.here(manifest, "text_unidecode")
    assert here["found"]["text_unidecode"]
    assert here["version"] != list(sys.version_info[:2])
    assert here["page"] == "here"


async def test_what_a_venv_of_the_project_s_own_holds_is_installed_from_the_index_and_makes_the_version(host: Host):
    folder = host.make({"api/here.py": WHAT_IS_HERE})
    await run_uv("venv", "--quiet", "--python", sys.executable, ".venv", cwd=folder, within=timedelta(seconds=60))
    nothing = await deploy(folder, host.store, host.environments)
    assert nothing.environment is None

    async def install(*what: str) -> Manifest:
        install = ("pip", "install", "--quiet", "--python", ".venv", *what)
        await run_uv(*install, cwd=folder, within=timedelta(seconds=60))
        return await deploy(folder, host.store, host.environments)

    first = await install("text-unidecode==1.2")
    second = await install("text-unidecode==1.3")
    assert first.environment is not None
    assert first.environment.source == ".venv"
    assert first.environment.requires_python == f"=={ours().minor}.*"
    assert len({nothing.version, first.version, second.version}) == 3
    assert "text-unidecode==1.2" in await stored_list(host, first)
    assert (await host.here(second, "text_unidecode"))["found"]["text_unidecode"]
    bundled = await host.versions.ensure(second.project, second.version)
    assert not (bundled / ".venv").exists()


async def test_a_venv_that_is_broken_fails_the_deploy_before_the_index_is_asked(host: Host):
    with pytest.raises(ProjectError, match=r"^\.venv: what is installed in it cannot be read"):
        await host.deploy({".venv/pyvenv.cfg": "home = /nowhere\nversion = 3.13.1\n"})


async def test_the_project_of_the_docs_runs_with_its_package_of_the_index(host: Host):
    page = (REPOSITORY / "docs" / "projects.md").read_text()
    shown = re.findall(r"^`projects/sizes/([^`]+)`\n\n```\w+\n(.*?)```", page, flags=re.DOTALL | re.MULTILINE)
    manifest = await host.deploy(dict(shown), name="sizes")
    assert manifest.warnings == ()
    pool = host.lab.pool(project="sizes")
    report = await pool.run(await host.version(manifest), order("tell", {"bytes": 2_000_000}), unnoticed)
    assert value(report) == "2.0 MB"


async def test_projects_with_the_same_packages_of_the_index_share_one_environment(host: Host):
    one = await host.deploy({"requirements.txt": "text-unidecode\n"}, name="one")
    pyproject = '[project]\nname = "two"\nversion = "1"\ndependencies = ["text-unidecode"]\n'
    two = await host.deploy({"pyproject.toml": pyproject}, name="two")
    assert len(host.built()) == 1
    assert (await host.version(one)).python == (await host.version(two)).python


async def test_a_worker_builds_what_another_host_deployed_from_the_index(host: Host):
    manifest = await host.deploy({"requirements.txt": "text-unidecode\n"})
    shutil.rmtree(host.root)
    assert (await host.here(manifest, "text_unidecode"))["found"]["text_unidecode"]
    assert len(host.built()) == 1


async def test_a_list_of_an_older_callboard_gets_our_playwright_from_the_index(host: Host, monkeypatch: Any):
    with monkeypatch.context() as older:
        older.setattr(module, "held_playwright", lambda: "playwright==1.49.0")
        older.setattr(resolving, "held_playwright", lambda: "playwright==1.49.0")
        manifest = await host.deploy({"requirements.txt": "text-unidecode==1.2\n"})
    assert "playwright==1.49.0" in await stored_list(host, manifest)
    here = await host.here(manifest, "text_unidecode")
    assert here["playwright"] == PLAYWRIGHT
    assert here["found"]["text_unidecode"]
    assert len(host.built()) == 2


async def test_a_build_that_fails_on_a_worker_is_an_error_of_the_machine_though_the_index_is_there(
    host: Host, wheels: Path
):
    manifest = await host.deploy(listing(wheels, "beta"))
    shutil.rmtree(host.root)
    for wheel in wheels.glob("beta-*"):
        wheel.unlink()
    with pytest.raises(MachineError, match=r"^the project's environment cannot be built: .*beta"):
        await host.version(manifest)
    assert host.built() == []


BROWSER_HELPERS = """
from intuned_browser import extract_markdown, go_to_url, resolve_url, save_file_to_s3, wait_for_dom_settled
from intuned_runtime import run_info

async def automation(page, params):
    await go_to_url(page, params["site"])
    await wait_for_dom_settled(page)
    return [await extract_markdown(page), await resolve_url(page=page, url="/products"), run_info().run_id]
"""
UPLOADS = """
from intuned_browser import save_file_to_s3, upload_file_to_s3

async def automation(page, params):
    await page.set_content("<a download='link.txt' href='data:text/plain,linked'>get it</a>")
    uploads = [await upload_file_to_s3(b"bytes", file_name_override="bytes.txt")]
    uploads.append(await save_file_to_s3(page, trigger=page.locator("a")))
    return [upload.to_dict() for upload in uploads]
"""
VENDORS = {"requirements.txt": "intuned-browser==0.1.18\nintuned-runtime==1.3.41\nplaywright==1.61.0\n"}


async def test_the_vendor_s_browser_helpers_from_the_index_work_with_our_runtime(host: Host, site: str):
    manifest = await host.deploy({**VENDORS, "api/helpers.py": BROWSER_HELPERS})
    pool = host.lab.pool(project=manifest.project)
    attempt = order("helpers", {"site": site}, run_info={"run_id": "the run"})
    markdown, url, run_id = value(await pool.run(await host.version(manifest), attempt, unnoticed))
    assert "# " in markdown
    assert (url, run_id) == (f"{site}/products", "the run")


async def test_the_vendor_s_upload_helpers_from_the_index_write_to_the_bucket_of_the_project_s_variables(
    host: Host, tmp_path: Path
):
    version = await host.version(await host.deploy({**VENDORS, "api/uploads.py": UPLOADS}))
    (tmp_path / "s3").mkdir()
    async with s3_server(tmp_path / "s3") as server:
        variables = {
            "AWS_BUCKET": BUCKET,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": server.endpoint,
            "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
        }
        version = replace(version, variables=tuple(variables.items()))
        report = await host.lab.pool(project=version.project).run(version, order("uploads", {}), unnoticed)
    assert [upload["bucket"] for upload in value(report)] == [BUCKET, BUCKET]
    uploaded = {path.name: path.read_text() for path in (tmp_path / "s3" / "buckets").rglob("*.txt")}
    assert uploaded == {"bytes.txt": "bytes", "link.txt": "linked"}


BUILDER = """
import asyncio, sys
from pathlib import Path
from projects import environments
from projects.interpreters import ours

run_uv, calls = environments.run_uv, []

async def noticed(*arguments, **options):
    calls.append(arguments[:2])
    if "stall" in sys.argv and arguments[:2] == ("pip", "install"):
        print("stalled", flush=True)
        await asyncio.sleep(3600)
    return await run_uv(*arguments, **options)

environments.run_uv = noticed
root, requirements = Path(sys.argv[1]), Path(sys.argv[2])
build = environments.Environments(root).ensure(requirements.read_text(), python=ours(), folder=root.parent)
print(asyncio.run(build).python, len(calls), flush=True)
"""


async def builder(root: Path, requirements: Path, *how: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", BUILDER, root, requirements, *how),
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
    )


@pytest.fixture
async def requirements(host: Host, tmp_path: Path) -> Path:
    """A list to build, which nobody has built yet."""
    manifest = await host.deploy({"requirements.txt": "text-unidecode\n"})
    shutil.rmtree(host.root)
    path = tmp_path / "list.txt"
    path.write_text(await stored_list(host, manifest))
    return path


async def test_several_processes_build_an_environment_from_the_index_once(host: Host, requirements: Path):
    processes = [await builder(host.root, requirements) for _ in range(3)]
    told = [(await process.communicate())[0].decode().split() for process in processes]
    assert len({python for python, _ in told}) == 1
    assert sorted(calls for _, calls in told) == ["0", "0", "2"]  # one made it and installed into it
    assert len(host.built()) == 1


async def test_a_build_from_the_index_that_was_killed_is_begun_anew(host: Host, requirements: Path):
    process = await builder(host.root, requirements, "stall")
    assert process.stdout is not None
    assert await process.stdout.readline() == b"stalled\n"
    waiting = await builder(host.root, requirements)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    out, _ = await waiting.communicate()
    assert out.split()[1] == b"2"
    (environment,) = host.root.iterdir()
    assert (environment / "lib" / f"python{ours().minor}" / "site-packages" / "text_unidecode").is_dir()


async def test_a_cancelled_build_from_the_index_leaves_nothing(host: Host, requirements: Path):
    build = host.environments.ensure(requirements.read_text(), python=ours(), folder=requirements.parent)
    task = asyncio.create_task(build)
    async with asyncio.timeout(30):
        while not host.root.is_dir() or not host.built():
            await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert host.built() == []


async def test_what_nothing_has_asked_for_in_a_month_goes_when_another_is_built_from_the_index(
    host: Host, wheels: Path, monkeypatch: Any
):
    await host.deploy(listing(wheels, "beta==1.0"))
    (old,) = host.built()
    monkeypatch.setattr(module, "KEPT_UNUSED", timedelta())
    (host.root / ".partial-left-by-a-dead-worker").mkdir()
    await host.deploy(listing(wheels, "beta==2.0"))
    assert old not in host.built()
