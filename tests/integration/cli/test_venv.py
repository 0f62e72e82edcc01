"""`callboard venv`: the environment in a project's folder, and what `callboard new` has written for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from callboard.projects.declaration import VENV_MARK, freeze_venv
from callboard.projects.skeleton import TEMPLATES, write_skeleton
from tests.support.files import write_files
from tests.support.processes import callboard_process
from tests.support.wheels import make_wheel

IN_PYTHON = [name for name in TEMPLATES if not name.startswith("typescript")]


def run(*arguments: str | Path, cwd: Path, index: str, **variables: str) -> CompletedProcess[str]:
    given = {"UV_DEFAULT_INDEX": index, "CALLBOARD_DATA_DIR": str(cwd / "data"), "COLUMNS": "500", **variables}
    return callboard_process(*arguments, cwd=cwd, **given)


@pytest.mark.parametrize("template", IN_PYTHON)
def test_a_new_project_passes_its_own_test(venv: Path, tmp_path: Path, template: str):
    write_skeleton(tmp_path, "fresh", template)
    (tmp_path / "fresh" / ".venv").symlink_to(venv)
    program = tmp_path / "fresh" / ".venv" / "bin" / "pytest"
    done = subprocess.run([program, "-q"], cwd=tmp_path / "fresh", capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_new_projects_are_typed_strictly(venv: Path, tmp_path: Path):
    for template in IN_PYTHON:
        write_skeleton(tmp_path, template, template)
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    pyright = Path(sys.executable).with_name("pyright")
    done = subprocess.run(
        [pyright, "--pythonpath", venv / "bin" / "python"], cwd=tmp_path, capture_output=True, text=True, timeout=200
    )
    assert "0 errors, 0 warnings" in done.stdout, done.stdout


def test_it_is_no_declaration_of_packages(venv: Path, tmp_path: Path):
    (tmp_path / ".venv").symlink_to(venv)
    assert freeze_venv(tmp_path) is None


def test_one_that_is_out_of_date_is_made_anew(index: str, tmp_path: Path):
    (tmp_path / "Intuned.jsonc").write_text("{}")
    (tmp_path / ".venv" / "old").mkdir(parents=True)
    (tmp_path / ".venv" / "pyvenv.cfg").touch()
    (tmp_path / ".venv" / VENV_MARK).write_text("of another version of Callboard\n")
    (tmp_path / "requirements.txt").write_text("python-slugify\n")
    done = run("venv", cwd=tmp_path, index=index)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / ".venv" / "old").exists()
    found = "import slugify, playwright, callboard_runtime, intuned_runtime"
    assert subprocess.run([tmp_path / ".venv" / "bin" / "python", "-c", found]).returncode == 0
    assert "Making" not in run("venv", cwd=tmp_path, index="http://127.0.0.1:1").stderr, "it is up to date"


def test_projects_share_files_of_the_cache_unless_code_may_write_them(index: str, tmp_path: Path):
    cache = tmp_path / "cache"
    for name, requirements in {"one": "", "two": "", "declares": "python-slugify\n"}.items():
        write_files(tmp_path / name, {"Intuned.jsonc": "{}", "requirements.txt": requirements})
        linking = {"UV_CACHE_DIR": str(cache), "UV_LINK_MODE": "hardlink"}
        done = run("venv", cwd=tmp_path / name, index=index, **linking)
        assert (done.returncode, "as there is none yet" in done.stderr) == (0, True), done.stderr

    def files(folder: Path, pattern: str = "*") -> set[int]:
        return {file.stat().st_ino for file in folder.rglob(pattern) if file.is_file() and not file.is_symlink()}

    drivers = [files(tmp_path / name / ".venv", "playwright/driver/*") for name in ("one", "two")]
    assert drivers[0]
    assert drivers[0] == drivers[1]
    assert not files(cache) & files(tmp_path / "declares" / ".venv")


def test_nothing_of_a_package_is_executed_outside_of_its_box(index: str, tmp_path: Path):
    executed = tmp_path.with_name(f"{tmp_path.name}-executed")  # where the box cannot write
    code = f"import os; open({str(executed)!r}, 'a').write('x')\n"
    for version in ("1.0", "2.0"):
        make_wheel(tmp_path / "w", "hostile", version, files={"hostile.py": "", "hostile.pth": code})
    (tmp_path / "Intuned.jsonc").write_text("{}")
    for version in ("1.0", "2.0"):  # the second one is made where the first one is
        declared = f'[project]\nname = "x"\nversion = "1"\ndependencies = ["hostile=={version}"]\n'
        (tmp_path / "pyproject.toml").write_text(f'{declared}[tool.uv]\nfind-links = ["./w"]\n')
        done = run("venv", cwd=tmp_path, index=index)
        assert done.returncode == 0, done.stderr
        assert not executed.exists()
    program = tmp_path / ".venv" / "bin" / "python"
    assert subprocess.run([program, "-c", "import hostile, callboard_runtime"]).returncode == 0
    assert executed.exists(), "whoever starts the environment's interpreter executes it"


def test_somebody_else_s_is_left_alone(index: str, tmp_path: Path):
    (tmp_path / "Intuned.jsonc").write_text("{}")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "theirs").touch()
    done = run("venv", cwd=tmp_path, index=index)
    assert (done.returncode, done.stdout) == (1, "")
    assert "was not made by Callboard, and lacks callboard-runtime" in done.stderr
    assert [path.name for path in (tmp_path / ".venv").iterdir()] == ["theirs"]


def test_nothing_is_left_of_one_that_cannot_be_made(index: str, tmp_path: Path):
    (tmp_path / "Intuned.jsonc").write_text("{}")
    (tmp_path / "requirements.txt").write_text("there-is-no-such-package\n")
    done = run("venv", cwd=tmp_path, index=index)
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no package there-is-no-such-package in the package index" in done.stderr
    (tmp_path / "requirements.txt").unlink()
    assert run("venv", cwd=tmp_path, index="http://127.0.0.1:1/simple").returncode == 1
    assert not (tmp_path / ".venv").exists()
