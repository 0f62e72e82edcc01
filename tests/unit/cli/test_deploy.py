"""`callboard deploy`: to an API or to the store, and what it says of a deploy that an API has made."""

import io
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from callboard.cli import polling
from callboard.cli.deploy import find_commit
from tests.support.fake_api import KEY, FakeApi, callboard, error_of
from tests.support.files import write_files

VERSION = "0123456789abcdef"
UPLOADED, STARTED = (200, {"id": "upload-1"}), (200, {"id": "deploy-1", "status": "pending"})


def result(status: str = "completed", **fields: Any) -> tuple[int, dict[str, Any]]:
    ended = {"message": "…", "version": VERSION, "apis": ["list"], "warnings": [], "resources": None}
    return 200, {"status": status, **ended, **fields}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "_POLL_SECONDS", 0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {"Intuned.json": "{}", "api/list.py": "", ".gitignore": "api/left.py", "api/left.py": "", ".env": "A=1"}
    return write_files(tmp_path / "shop", files)


def test_a_folder_is_packed_sent_deployed_and_waited_for(api: FakeApi, folder: Path):
    changes = {"created": ["nightly"], "updated": [], "removed": ["weekly"], "refused": ["a.job.json: it is taken."]}
    resources = {"status": "completed", "jobs": changes, "authSessions": {**changes, "created": [], "refused": []}}
    later = result(resources={"status": "pending", "jobs": None, "authSessions": None})
    api.answers = [
        *(UPLOADED, STARTED, result("pending", version=None, apis=[])),
        *(later, result(warnings=["api/list.py: it is empty"], resources=resources)),
    ]
    done = api.callboard("deploy", str(folder), "-m", "Read prices", "--no-promote")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        f"Stored shop, version {VERSION}, at {api.url}",
        "APIs: list",
        "Jobs created: nightly",
        "Jobs removed: weekly",
        "AuthSessions removed: weekly",
    ]
    assert done.stderr.splitlines() == [
        "warning: a.job.json: it is taken.",
        "warning: api/left.py: left out, as a .gitignore names it",
        "warning: api/list.py: it is empty",
    ]
    put, post, *asked = api.asked
    assert (put.method, put.path, put.key, put.headers["content-type"]) == (
        *("PUT", "projects/shop", KEY),
        "application/gzip",
    )
    with tarfile.open(fileobj=io.BytesIO(put.body)) as packed:
        assert packed.getnames() == [".gitignore", "Intuned.json", "api/list.py"]
    assert (post.path, post.body["id"]) == ("projects/shop/deploy", "upload-1")
    assert (post.body["message"], post.body["promote"]) == ("Read prices", False)
    assert {each.path for each in asked} == {"projects/shop/deploy/result?id=deploy-1"}


def test_a_deploy_that_fails_ends_with_1_and_its_reason(api: FakeApi, folder: Path):
    api.answers = [UPLOADED, STARTED, result("failed", reason="requirements.txt: there is no package nope")]
    assert api.error("deploy", folder) == (1, "requirements.txt: there is no package nope")


@pytest.mark.parametrize(("status", "code"), [(400, 1), (413, 1), (403, 1), (503, 5)])
def test_what_the_api_refuses_is_told(api: FakeApi, folder: Path, status: int, code: int):
    api.answers = [(status, {"message": "'out': expected a file.", "code": "x"})]
    assert api.error("deploy", folder) == (code, "'out': expected a file.")


def test_whose_key_does_not_see_the_project_is_told_why_it_may_be_so(api: FakeApi, folder: Path):
    api.answers = [(404, {"message": "There is no project 'shop' deployed here.", "code": "not-found"})]
    told = "There is no project 'shop' deployed here. A key for some projects deploys only these."
    assert api.error("deploy", folder) == (4, told)


def test_a_folder_that_is_no_project_is_not_sent(api: FakeApi, tmp_path: Path):
    assert "this is not a project" in api.error("deploy", tmp_path)[1]
    assert api.asked == []


def test_options_decide_between_an_api_and_the_store(api: FakeApi, folder: Path, tmp_path: Path):
    done = api.callboard("deploy", str(folder), "--artifacts", str(tmp_path / "store"))
    assert done.exit_code == 0, done.output
    assert (tmp_path / "store/projects/shop").is_dir()
    for options in (["--artifacts", "x", "--url", api.url], ["--data", str(tmp_path), "--key", KEY]):
        assert api.callboard("deploy", str(folder), *options).exit_code == 2
    assert api.asked == []


def test_where_to_has_to_be_said(folder: Path, tmp_path: Path):
    home = tmp_path / "home"
    code, said = error_of(callboard("deploy", folder, HOME=str(home), XDG_DATA_HOME=str(home), CALLBOARD_API_KEY=KEY))
    assert code == 2
    for way in ("--url", "CALLBOARD_URL", "--artifacts", "CALLBOARD_ARTIFACTS", "--data", "CALLBOARD_DATA_DIR"):
        assert way in said
    assert not home.exists()
    done = callboard("deploy", folder, CALLBOARD_DATA_DIR=str(tmp_path / "data"))
    assert done.exit_code == 0, done.output
    assert (tmp_path / "data/artifacts/projects/shop").is_dir()


def test_a_repository_cannot_have_programs_executed_by_a_deploy(tmp_path: Path):
    project, executed = write_files(tmp_path / "shop", {"a": "1", ".gitattributes": "* filter=mine"}), tmp_path / "it"
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@a", "-C", str(project))
    of_repository = (("filter.mine.clean", f"touch {executed}"), ("core.fsmonitor", f"touch {executed}; false"))
    for words in (
        ("init", "-q"),
        ("add", "."),
        ("commit", "-qm", "begin"),
        *(("config", *each) for each in of_repository),
    ):
        subprocess.run([*git, *words], check=True)
    (project / "a").write_text("2")
    assert str(find_commit(project)).endswith("-dirty")
    assert not executed.exists()
    subprocess.run([*git, "status"], check=True, capture_output=True)
    assert executed.exists(), "git itself executes it"
