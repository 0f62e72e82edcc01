"""A bundle is the same wherever it is packed, and holds what belongs to the project."""

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import callboard.projects.bundle
from callboard.projects.bundle import extract, extract_and_compile
from callboard.projects.files import list_project_files
from callboard.schemas.errors import ProjectError, StoreError
from tests.support.project_folders import Make

names = st.from_regex(r"[a-z0-9é _-]{1,12}(\.py|\.txt)?", fullmatch=True).filter(
    lambda name: name not in {"tmp", "venv"}
)
trees = st.dictionaries(
    st.lists(names, min_size=1, max_size=3).map("/".join), st.tuples(st.binary(max_size=200), st.booleans()), max_size=6
).map(
    # What is a file cannot be a folder too, also not where case or spaces are no difference.
    lambda tree: {path: item for path, item in tree.items() if not any(other.startswith(f"{path}/") for other in tree)}
)


def write(folder: Path, tree: dict[str, tuple[bytes, bool]], order: int = 1) -> None:
    for path, (content, executable) in list(tree.items())[::order]:
        target = folder / "project" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(0o700 if executable else 0o600)
    (folder / "project").mkdir(exist_ok=True)


def pack(folder: Path, target: Path) -> str:
    return callboard.projects.bundle.pack(list_project_files(folder), target)


def contents(bundle: Path) -> list[str]:
    with tarfile.open(bundle) as archive:
        return archive.getnames()


@given(trees)
@settings(max_examples=40, deadline=None)
def test_the_same_files_give_the_same_bytes_and_version_and_come_back(tree: dict[str, tuple[bytes, bool]]):
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        write(Path(one), tree)
        write(Path(two), tree, order=-1)
        versions = {pack(Path(folder) / "project", Path(folder) / "bundle") for folder in (one, two)}
        assert len(versions) == 1
        assert (Path(one) / "bundle").read_bytes() == (Path(two) / "bundle").read_bytes()

        out = Path(one) / "out"
        extract(Path(one) / "bundle", out)
        back = {
            str(path.relative_to(out)): (path.read_bytes(), bool(path.stat().st_mode & 0o100))
            for path in out.rglob("*")
            if path.is_file()
        }
        assert back == tree
        # What was unpacked is the version that it says to be.
        assert {pack(out, Path(two) / "again")} == versions


@given(trees, trees)
@example({"a": (b"bc", False)}, {"ab": (b"c", False)})
@settings(max_examples=40, deadline=None)
def test_other_files_are_another_version(first: dict[str, tuple[bytes, bool]], second: dict[str, tuple[bytes, bool]]):
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        write(Path(one), first)
        write(Path(two), second)
        versions = [pack(Path(folder) / "project", Path(folder) / "bundle") for folder in (one, two)]
        assert (versions[0] == versions[1]) == (first == second)


def test_dates_and_owners_do_not_matter(make_project: Make, tmp_path: Path):
    folder = make_project()
    version = pack(folder, tmp_path / "1")
    os.utime(folder / "api" / "list.py", (1, 1))
    (folder / "api" / "list.py").chmod(0o664)
    assert pack(folder, tmp_path / "2") == version
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    with tarfile.open(tmp_path / "1") as archive:
        assert {(item.uid, item.gid, item.uname, item.mode) for item in archive} == {(0, 0, "", 0o644)}


def test_a_link_inside_the_project_is_bundled_as_what_it_leads_to(make_project: Make, tmp_path: Path):
    folder = make_project({"utils/a.py": "a", "utils/sub/b.py": "b"})
    (folder / "api" / "linked.py").symlink_to("../utils/a.py")
    (folder / "api" / "sub").symlink_to(folder / "utils" / "sub")
    pack(folder, tmp_path / "bundle")
    extract(tmp_path / "bundle", tmp_path / "out")
    assert (tmp_path / "out" / "api" / "linked.py").read_text() == "a"
    assert not (tmp_path / "out" / "api" / "linked.py").is_symlink()
    assert (tmp_path / "out" / "api" / "sub" / "b.py").read_text() == "b"


def test_a_project_folder_may_be_a_link_itself(make_project: Make, tmp_path: Path):
    (tmp_path / "link").symlink_to(make_project())
    assert pack(tmp_path / "link", tmp_path / "1") == pack(tmp_path / "shop", tmp_path / "2")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            "../../secret",
            (
                "utils/link: the symbolic link leads out of the project, to ../../secret. "
                "A version must hold all that it needs: replace the link by what it leads to."
            ),
        ),
        ("/etc/hostname", "utils/link: the symbolic link leads out of the project, to /etc/hostname. "),
        ("..", "utils/link: the symbolic link leads in a circle. Remove it."),
        (".", "utils/link: the symbolic link leads in a circle. Remove it."),
        ("link", "utils/link: the symbolic link leads nowhere. Remove it."),
        ("missing", "utils/link: the symbolic link leads nowhere. Remove it."),
        ("../.env", "utils/link: the symbolic link leads to .env, which is never bundled. Remove it."),
        ("../.git/x", "utils/link: the symbolic link leads to .git, which is never bundled. Remove it."),
    ],
)
def test_a_link_that_cannot_be_bundled_is_named(make_project: Make, tmp_path: Path, target: str, message: str):
    (tmp_path / "secret").touch()
    folder = make_project({"utils/x.py": "", ".env": "A=1", ".git/x": ""})
    (folder / "utils" / "link").symlink_to(target)
    with pytest.raises(ProjectError) as error:
        pack(folder, tmp_path / "bundle")
    assert error.value.message.startswith(message)
    assert not (tmp_path / "bundle").exists()


def test_what_is_left_out_may_lead_anywhere(make_project: Make, tmp_path: Path):
    folder = make_project()
    (folder / ".venv").symlink_to("/usr")
    (folder / "output").symlink_to("nowhere")
    pack(folder, tmp_path / "bundle")
    assert contents(tmp_path / "bundle") == ["Intuned.jsonc", "api/list.py"]


def test_what_is_neither_file_nor_folder_is_named(make_project: Make, tmp_path: Path):
    folder = make_project()
    os.mkfifo(folder / "pipe")
    with pytest.raises(ProjectError, match=r"^pipe: neither a file nor a folder\. Remove it from the project\.$"):
        pack(folder, tmp_path / "bundle")


def test_a_name_that_is_not_utf8_is_named(make_project: Make, tmp_path: Path):
    folder = make_project()
    (Path(os.fsdecode(os.fsencode(folder) + b"/\xff"))).touch()
    with pytest.raises(ProjectError, match=r"^'\\udcff': the name is not UTF-8\. Rename the file\.$"):
        pack(folder, tmp_path / "bundle")


def test_a_project_that_is_too_big_is_refused_and_its_biggest_file_named(
    make_project: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(callboard.projects.bundle, "MAX_SIZE", 5000)
    folder = make_project({"data/big.csv": "x" * 4990})
    with pytest.raises(ProjectError) as error:
        pack(folder, tmp_path / "bundle")
    assert error.value.message == (
        "The project's files have 5,057 bytes together, and 5,000 are allowed. The biggest is data/big.csv with 4,990. "
        "Keep data out of the project, or in output/ or tmp/."
    )
    assert not (tmp_path / "bundle").exists()


def test_unpacked_files_are_compiled_for_every_copy_of_the_folder(make_project: Make, tmp_path: Path):
    folder = make_project({"utils/01-odd.py": "x = 1", "api/broken.py": "def (", "utils/loud.py": "'\\d'"})
    pack(folder, tmp_path / "bundle")
    extract_and_compile(tmp_path / "bundle", tmp_path / "out")
    tag = sys.implementation.cache_tag
    compiled = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.pyc"))
    assert compiled == [
        f"api/__pycache__/list.{tag}.pyc",
        f"utils/__pycache__/01-odd.{tag}.pyc",
        f"utils/__pycache__/loud.{tag}.pyc",
    ]
    # Bits 0 and 1 of the flags: bound to the hash of the source, and checked against it.
    assert (tmp_path / "out" / compiled[0]).read_bytes()[4:8] == b"\x03\x00\x00\x00"


def test_a_project_that_is_unpacked_can_be_imported(make_project: Make, tmp_path: Path):
    pack(make_project({"api/2-x.py": "from utils.a import value\n", "utils/a.py": "value = 7\n"}), tmp_path / "bundle")
    extract_and_compile(tmp_path / "bundle", tmp_path / "out")
    code = "import importlib; print(importlib.import_module('api.2-x').value)"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=tmp_path / "out", capture_output=True, check=True)
    assert done.stdout == b"7\n"


@pytest.mark.parametrize("damage", ["empty", "cut", "checksum cut", "checksum", "junk"])
def test_a_damaged_bundle_is_refused(make_project: Make, tmp_path: Path, damage: str):
    pack(make_project({"data": os.urandom(5000).hex()}), tmp_path / "bundle")
    good = (tmp_path / "bundle").read_bytes()
    damaged = {
        "empty": b"",
        "cut": good[:-200],
        "checksum cut": good[:-6],
        "checksum": good[:-8] + b"1234" + good[-4:],
        "junk": b"junk" + good,
    }
    (tmp_path / "bundle").write_bytes(damaged[damage])
    with pytest.raises(StoreError, match=r"^the bundle cannot be unpacked: .+\.$"):
        extract(tmp_path / "bundle", tmp_path / "out")


def test_a_bundle_that_would_write_outside_its_folder_is_refused(tmp_path: Path):
    with tarfile.open(tmp_path / "bundle", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("../outside"))
    with pytest.raises(StoreError, match="the bundle cannot be unpacked"):
        extract(tmp_path / "bundle", tmp_path / "out")
    assert not (tmp_path / "outside").exists()
