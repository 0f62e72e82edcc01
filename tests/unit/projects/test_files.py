import subprocess
from pathlib import Path

import pytest

from projects.files import is_project_path, list_project_files
from schemas.errors import ProjectError

LEFT_BY_EDITORS = ["api/.list.py.swp", "api/.list.py.swo", "api/list.py~", "api/#list.py#", "api/list.py___jb_tmp___"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "list.py").write_text("1")
    return tmp_path


def test_what_editors_leave_beside_a_file_is_no_part_of_a_project(folder: Path):
    for path in LEFT_BY_EDITORS:
        (folder / path).write_text("half of it")
    (folder / "api" / ".#list.py").symlink_to("somebody@host.1234:5678")  # the lock of Emacs leads nowhere
    assert [file.path for file in list_project_files(folder)] == ["api/list.py"]


@pytest.mark.parametrize("path", ["api/list.py", "api", "new/deep.py", "api/build/x.py", "Intuned.json"])
def test_a_path_of_the_project_is_one_also_if_it_is_not_there_any_more(folder: Path, path: str):
    assert is_project_path(folder, folder / path)


@pytest.mark.parametrize(
    "path",
    [
        ".git/index",
        "api/__pycache__/x.pyc",
        "node_modules/a/b.js",
        "build/x.py",
        "env/lib/x.py",
        ".env.local",
        "output/x.zip",
    ],
)
def test_a_path_below_what_is_left_out_is_left_out(folder: Path, path: str):
    (folder / "env").mkdir()
    (folder / "env" / "pyvenv.cfg").write_text("")
    assert not is_project_path(folder, folder / path)


def test_both_agree(folder: Path):
    for path in (*LEFT_BY_EDITORS, "debug.log", "output/x.json", "api/build/x.py", "README.md", "docs/README.md"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("1")
    files = {path for path in folder.rglob("*") if path.is_file()}
    assert {file.path for file in list_project_files(folder)} == {
        path.relative_to(folder).as_posix() for path in files if is_project_path(folder, path)
    }


def test_what_a_gitignore_names_is_left_out_as_git_leaves_it_out(folder: Path):
    files = {
        ".gitignore": "*.csv\n/data/\nlogs/**\n!logs/keep.txt\n# a comment\n!\n",
        "api/.gitignore": "!known.csv\n/drafts\n",
        **dict.fromkeys(("a.csv", "api/a.csv", "api/known.csv", "data/x.py", "api/data/x.py"), "1"),
        **dict.fromkeys(("logs/x.txt", "logs/keep.txt", "api/drafts/x.py", "drafts/x.py"), "1"),
    }
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    listed = ["git", "-c", "core.excludesFile=", "ls-files", "--others", "--exclude-standard"]
    by_git = subprocess.run(listed, cwd=folder, capture_output=True, text=True, check=True).stdout.split()
    assert [file.path for file in list_project_files(folder)] == sorted(by_git)
    assert {path for path in [*files, "api/list.py"] if is_project_path(folder, folder / path)} == set(by_git)

    (folder / "api" / ".gitignore").write_text("")
    assert is_project_path(folder, folder / "api/drafts/x.py"), "a change of the file counts at once"


def test_a_link_to_what_a_gitignore_names_is_refused(folder: Path):
    (folder / ".gitignore").write_text("private/")
    (folder / "private").mkdir()
    (folder / "private" / "key").write_text("1")
    (folder / "key").symlink_to("private/key")
    with pytest.raises(ProjectError, match="key: the symbolic link leads to private, which is never bundled"):
        list_project_files(folder)
