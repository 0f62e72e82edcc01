import subprocess
from pathlib import Path

import pytest

from projects.files import is_project_path, list_project_files
from schemas.errors import ProjectError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "list.py").write_text("1")
    return tmp_path


LEFT_OUT = """
.git/config .hg/x .svn/x sub/.git/config .venv/lib/x.py venv/lib/x.py sub/.venv/x __pycache__/x.py sub/__pycache__/x.txt
.mypy_cache/x .pytest_cache/x .ruff_cache/x node_modules/a/b.js sub/node_modules/b.js build/x dist/x x.egg-info/PKG-INFO
.env .env.local .envrc sub/.env sub/.env.production a.log sub/a.log x.pyc sub/x.pyc a.db sub/a.sqlite3 README.md
output/x tmp/x traces/x.zip auth-sessions-instances/a/auth-session.json auth-session-instances/a/x .idea/x .DS_Store
.parameters/auth-sessions/create/default.json intuned-resources/auth-sessions/a.auth-session.json
api/.list.py.swp api/.list.py.swo api/list.py~ api/#list.py# api/list.py___jb_tmp___ my-env/pyvenv.cfg my-env/lib/x.py
""".split()  # noqa: SIM905

KEPT = """
Intuned.jsonc api/list.py api/build/x.py api/output.py api/tmp/x.py api/venv.py docs/README.md sub/traces/x env.py
.parameters/api/list/default.json pyproject.toml hooks/setup_context.py auth-sessions/create.py data/a.dbx sub/dist/x.py
intuned-resources/jobs/a.job.json
""".split()  # noqa: SIM905


def test_what_tools_runs_logins_and_editors_leave_behind_is_left_out(tmp_path: Path):
    for path in (*LEFT_OUT, *KEPT):
        assert is_project_path(tmp_path, tmp_path / path) is (path in KEPT or path.startswith("my-env/")), path
    for path in (*LEFT_OUT, *KEPT):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("1")
    (tmp_path / "my-env" / "python").symlink_to("/usr/bin/python3")
    (tmp_path / "api" / ".#list.py").symlink_to("somebody@host.1234:5678")  # the lock of Emacs leads nowhere
    assert [file.path for file in list_project_files(tmp_path)] == sorted(KEPT)
    assert [path for path in (*LEFT_OUT, *KEPT) if is_project_path(tmp_path, tmp_path / path)] == KEPT


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
