"""An upload is the project that was packed, and nothing else gets out of an archive than plain files."""

import gzip
import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from callboard.projects.bounded import run_bounded
from callboard.projects.declaration import FROZEN, freeze_venv
from callboard.projects.preparation import Prepared, prepare
from callboard.projects.upload import UploadLimits, check_upload, pack_tree, pack_upload, unpack_upload
from callboard.projects.upload_preparation import complete_upload, prepare_upload
from callboard.schemas.errors import PayloadTooLarge, ProjectError
from tests.support.files import write_files
from tests.support.project_folders import Make

LIMITS = UploadLimits(packed=1024**2, unpacked=16 * 1024**2, files=20)
SETTINGS = ("Intuned.json", {}, b"{}")

Member = tuple[str, dict[str, Any], bytes]
"""A member of an archive: its name, its other fields, and its content."""


@pytest.fixture
def archive(tmp_path: Path) -> Callable[..., Path]:
    """Writes an archive of these members."""

    def archive(*members: Member) -> Path:
        path = tmp_path / "upload.tar.gz"
        with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as out:
            for name, fields, content in members:
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                for field, value in fields.items():
                    setattr(entry, field, value)
                out.addfile(entry, io.BytesIO(content))
        return path

    return archive


def refused(path: Path, limits: UploadLimits = LIMITS) -> str:
    """Why an upload is refused, before anything of it is written."""
    with pytest.raises((ProjectError, PayloadTooLarge)) as error:
        check_upload(path, "shop", limits)
    target = Path(tempfile.mkdtemp(dir=path.parent)) / "unpacked"
    with suppress(ProjectError, PayloadTooLarge):  # settings are not looked at
        unpack_upload(path, target, limits)
    assert [each for each in path.parent.rglob("*") if target.parent not in (each, *each.parents)] == [path]
    assert all(each.is_dir() or (each.is_file() and not each.is_symlink()) for each in target.rglob("*"))
    shutil.rmtree(target.parent)
    return error.value.message


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        (("/etc/passwd", {}, b""), "'/etc/passwd': expected a path below the project folder"),
        (("a/../../b", {}, b""), "'a/../../b': expected a path that has no part .."),
        ((".//../b", {}, b""), "'../b': expected a path that has no part .."),
        (("a//b", {}, b""), "'a//b': expected a plain path"),
        (("a", {"type": tarfile.SYMTYPE, "linkname": "/etc"}, b""), "'a': expected a file, and not a symbolic link"),
        (
            ("a", {"type": tarfile.LNKTYPE, "linkname": "Intuned.json"}, b""),
            "'a': expected a file, and not a hard link",
        ),
        (("a", {"type": tarfile.FIFOTYPE}, b""), "'a': expected a file or a folder, and nothing else"),
        (("a", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}, b""), "'a': expected a file or a folder"),
        (("a", {"type": tarfile.BLKTYPE}, b""), "'a': expected a file or a folder"),
        (("a", {"type": tarfile.CONTTYPE}, b""), "'a': expected a file or a folder"),
        (("a\x1b[2Jb", {}, b""), "'a\\x1b[2Jb': expected a name in UTF-8 without control characters"),
        (("a\nb", {}, b""), "'a\\nb': expected a name in UTF-8 without control characters"),
        (("a\udcff", {}, b""), "'a\\\\xff': expected a name in UTF-8"),
        (("x" * 256, {}, b""), "expected at most 1024 bytes, and 255 in each part"),
        (("/".join(["x" * 200] * 6), {}, b""), "expected at most 1024 bytes, and 255 in each part"),
        (("Intuned.json", {}, b"{}"), "'Intuned.json': expected each path once"),
        (("./Intuned.json", {}, b"{}"), "'Intuned.json': expected each path once"),
        (("Intuned.json/x", {}, b"{}"), "'Intuned.json': expected a file or a folder, and not both"),
        (("Intuned.json", {"type": tarfile.DIRTYPE}, b""), "'Intuned.json': expected each path once"),
    ],
)
def test_what_is_no_plain_file_is_refused_with_its_path(archive: Any, member: Member, expected: str):
    assert expected in refused(archive(SETTINGS, member))


def test_of_a_file_only_content_and_the_permission_to_execute_count(archive: Any, tmp_path: Path):
    owner = {"uid": 0, "gid": 0, "uname": "root", "mtime": 4_000_000_000}
    path = archive(("./", {"type": tarfile.DIRTYPE}, b""), SETTINGS, ("./bin/x", {"mode": 0o6777, **owner}, b"y"))
    unpack_upload(path, tmp_path / "out", LIMITS)
    assert (tmp_path / "out/bin/x").read_bytes() == b"y"
    assert [(tmp_path / "out" / name).stat().st_mode & 0o7777 for name in ("Intuned.json", "bin/x")] == [0o644, 0o755]


def test_names_that_differ_in_case_only_are_two_files(archive: Any, tmp_path: Path):
    unpack_upload(archive(SETTINGS, ("api/a.py", {}, b"1"), ("api/A.py", {}, b"2")), tmp_path / "out", LIMITS)
    assert (tmp_path / "out/api/a.py").read_bytes() + (tmp_path / "out/api/A.py").read_bytes() == b"12"


@pytest.mark.parametrize("kind", ["files", "folders"])
def test_too_many_files_or_folders_are_refused(archive: Any, kind: str):
    fields = {"type": tarfile.DIRTYPE} if kind == "folders" else {}
    members = [(f"x{number}", fields, b"") for number in range(21)]
    assert refused(archive(SETTINGS, *members)) == f"The upload has more than 20 {kind}."


def test_a_tree_in_json_has_no_more_files_than_any_other_upload(tmp_path: Path):
    body, packed = tmp_path / "tree.json", tmp_path / "upload.tar.gz"
    tree = {f"{number}.py": {"file": {"contents": ""}} for number in range(LIMITS.files + 1)}
    body.write_text(json.dumps({"codeTree": tree}))
    with pytest.raises(PayloadTooLarge, match="more than 20 files"):
        pack_tree(body, packed, LIMITS)
    assert not packed.exists()
    del tree["0.py"]
    body.write_text(json.dumps({"codeTree": tree}))
    pack_tree(body, packed, LIMITS)
    assert packed.exists()


def test_an_archive_that_is_huge_when_it_is_unpacked_is_refused(archive: Any, tmp_path: Path):
    assert "more than 16,777,216 bytes" in refused(archive(SETTINGS, ("zeros", {}, bytes(17 * 1024**2))))
    behind = tmp_path / "upload.tar.gz"
    with gzip.open(behind, "wb") as out:
        out.write(bytes(17 * 1024**2))
    assert "more than 16,777,216 bytes" in refused(behind)


def test_a_damaged_archive_is_refused(archive: Any):
    path = archive(SETTINGS, ("api/list.py", {}, b"x" * 5000))
    whole = path.read_bytes()
    tar = gzip.decompress(whole)
    checksum = bytes([whole[-8] ^ 1])
    for data in (b"", b"hello", whole[:-30], whole[:-8] + checksum + whole[-7:], gzip.compress(tar[:2048]), tar):
        path.write_bytes(data)
        assert refused(path).startswith("The upload is no tar that gzip has compressed, or is damaged: "), data
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 3 * 1024**2
    path.write_bytes(gzip.compress(header.tobuf() + bytes(4 * 1024**2)))
    assert "a header in it is too long" in refused(path)
    path.write_bytes(gzip.compress(tar[:1024] + b"x" * 512 + tar[1536:]))
    assert "it ends within the archive" in refused(path)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([], "The upload is not a project, as it has no settings file at its top."),
        ([("Intuned.json", {}, b'{"replication": 3}')], "Intuned.json: replication: expected an object, found 3"),
        ([("Intuned.yml", {}, b"projectName: mail")], 'Intuned.yml: projectName: expected "shop", as the upload is'),
        ([("Intuned.json", {}, b" " * (1024**2 + 1))], "Intuned.json: expected settings of at most 131,072 bytes"),
    ],
)
def test_wrong_settings_are_refused(archive: Any, settings: list[Member], expected: str):
    assert refused(archive(("api/list.py", {}, b""), *settings)).startswith(expected)


@pytest.fixture
def prepared_both_ways(tmp_path: Path) -> Any:
    """Prepares a folder itself, and an upload of it."""

    async def prepared_both_ways(folder: Path) -> tuple[Prepared, Prepared]:
        packed, scratch, direct = (tmp_path / name for name in ("packed", "scratch", "direct"))
        pack_upload(folder, packed)
        for each in (scratch, direct):
            each.mkdir()
        sent = await run_bounded(prepare_upload, packed, "shop", LIMITS, scratch, read=[packed], write=[scratch])
        return prepare(folder, direct), sent

    return prepared_both_ways


async def test_the_same_folder_is_the_same_version_by_both_ways(make_project: Make, prepared_both_ways: Any):
    folder = make_project(
        {
            "Intuned.json": '{"authSessions": {"enabled": true, "type": "API"}, "unknown": 1}',
            "auth-sessions/create.py": "async def create(page, params=None, **_): ...",
            "auth-sessions/check.py": "async def check(page, **_): return True",
            "intuned-resources/auth-sessions/anna.auth-session.json": '{"parameters": {"user": "anna"}}',
            "intuned-resources/auth-sessions/notes.txt": "",
            "README.md": "not a part of it",
            "bin/run": "#!/bin/sh",
        }
    )
    (folder / "bin/run").chmod(0o755)
    write_files(
        folder / ".venv",
        {
            "pyvenv.cfg": "version = 3.12.4",
            "lib/python3.12/site-packages/six-1.16.dist-info/METADATA": "Name: six\nVersion: 1.16\n",
        },
    )
    direct, sent = await prepared_both_ways(folder)
    assert sent.manifest == direct.manifest.model_copy(update={"created_at": sent.manifest.created_at})
    assert sent.resources == direct.resources
    assert sent.resources.auth_sessions[0].parameters == {"user": "anna"}
    assert sent.frozen == direct.frozen
    assert sent.sources.declaration == direct.sources.declaration is not None
    assert sent.hashes == direct.hashes
    assert any("unknown" in str(warning) for warning in sent.manifest.warnings)


def test_a_venv_is_sent_as_a_list_of_what_it_has(tmp_path: Path):
    write_files(tmp_path / ".venv", {"pyvenv.cfg": "version = 3.12", FROZEN: "six==1.16\n"})
    frozen = freeze_venv(tmp_path)
    assert (frozen and frozen.python, frozen and frozen.requirements) == ("3.12", "six==1.16\n")


def test_errors_do_not_name_folders_of_the_host(archive: Any, tmp_path: Path):
    (tmp_path / "scratch").mkdir()
    with pytest.raises(ProjectError) as error:
        prepare_upload(archive(SETTINGS), "shop", LIMITS, tmp_path / "scratch")
    assert error.value.message.startswith("there is no folder api in the project.")


def test_settings_that_refer_to_themselves_often_are_read_quickly(archive: Any):
    settings = b"a: &a [" + b"x," * 10 + b"x]\n"
    for number in range(8):
        name, before = f"b{number}".encode(), f"b{number - 1}".encode() if number else b"a"
        settings += name + b": &" + name + b" [" + b",".join([b"*" + before] * 100) + b"]\n"
    settings += b"authSessions: {secretParameters: *b7}\n"
    assert "secretParameters: expected" in refused(archive(("Intuned.yaml", {}, settings)))


def test_what_was_built_completes_the_manifest(archive: Any, tmp_path: Path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "built.json").write_text('{"described": {"apis": {"apis": {}}}}')
    code = b"import numpy\nasync def automation(page, params=None, **_): ...\n"
    upload = archive(SETTINGS, ("api/list.py", {}, code))
    completed = complete_upload(
        upload, "shop", LIMITS, tmp_path / "scratch", tmp_path / "built.json", tmp_path / "none"
    )
    said = [str(warning) for warning in completed.manifest.warnings]
    assert [text.partition(" is neither")[0] for text in said] == ["api/list.py, line 1: the module numpy"]


OTHER_PACKAGES = {
    "environment": {"source": "pyproject.toml", "declaration": "that-of-another-version"},
    "requirements": "evil==1",
    "modules": [],
    "python": "/usr/bin/python3",
    "site_packages": "/",
}


@pytest.mark.parametrize(
    ("built", "expected"),
    [
        ({"list": {"input_schema": {"$ref": "http://169.254.169.254/"}}}, "a reference that does not lead to"),
        ({"list": {"input_schema": {"description": "x" * 300_000}}}, "more than 256 KiB"),
        ({"other": {"docstring": "x"}}, "no such API"),
        (None, "other packages than it declares"),
        ({"list": {"docstring": "x" * 17 * 1024**2}}, "more than 16 MiB"),
    ],
)
def test_a_worker_that_was_taken_over_is_not_believed_what_cannot_be(
    archive: Any, tmp_path: Path, built: dict[str, Any] | None, expected: str
):
    (tmp_path / "scratch").mkdir()
    said = {"described": {"apis": {"apis": built or {}}}, "dependencies": None if built else OTHER_PACKAGES}
    (tmp_path / "built.json").write_text(json.dumps(said))
    upload = archive(SETTINGS, ("api/list.py", {}, b"async def automation(page, params=None, **_): ..."))
    with pytest.raises(ProjectError, match=expected):
        complete_upload(upload, "shop", LIMITS, tmp_path / "scratch", tmp_path / "built.json", tmp_path / "none")
