import subprocess
import sys
from pathlib import Path

import pytest

from callboard.projects.files import find_unignored, list_project_files, may_be_project_path
from callboard.schemas.errors import ProjectError
from tests.support.repository import REPOSITORY


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
        assert may_be_project_path(tmp_path, tmp_path / path) is (path in KEPT or path.startswith("my-env/")), path
    for path in (*LEFT_OUT, *KEPT):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("1")
    (tmp_path / "my-env" / "python").symlink_to("/usr/bin/python3")
    (tmp_path / "api" / ".#list.py").symlink_to("somebody@host.1234:5678")  # the lock of Emacs leads nowhere
    assert [file.path for file in list_project_files(tmp_path)] == sorted(KEPT)
    assert [path for path in (*LEFT_OUT, *KEPT) if may_be_project_path(tmp_path, tmp_path / path)] == KEPT


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
    paths = [folder / path for path in [*files, "api/list.py"]]
    assert {path.relative_to(folder).as_posix() for path in find_unignored(folder, paths)} == set(by_git)

    (folder / "api" / ".gitignore").write_text("")
    drafts = [folder / "api/drafts/x.py"]
    assert find_unignored(folder, drafts) == drafts, "a change of the file counts at once"


def test_a_link_to_what_a_gitignore_names_is_refused(folder: Path):
    (folder / ".gitignore").write_text("private/")
    (folder / "private").mkdir()
    (folder / "private" / "key").write_text("1")
    (folder / "key").symlink_to("private/key")
    with pytest.raises(ProjectError, match="key: the symbolic link leads to private, which is never bundled"):
        list_project_files(folder)


def test_a_gitignore_that_takes_too_long_is_refused_by_name(folder: Path):
    (folder / "api" / ".gitignore").write_text("*a" * 25 + "b\n")
    (folder / "api" / ("a" * 200)).touch()
    script = (
        "import sys; from pathlib import Path; from callboard.projects import files, reading\n"
        "reading.bound_process(); files._PATIENCE = reading.Patience(0.2)\n"
        "try: files.list_project_files(Path(sys.argv[1]))\n"
        "except files.ProjectError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, folder], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.stdout.startswith("api/.gitignore: to find out what it names takes more than 0.2 seconds."), done.stderr
