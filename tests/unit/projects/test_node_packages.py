"""The packages that a project in TypeScript declares come from the registry, or from the project, and have hashes."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from callboard.projects.node.compiled import unpack_compiled
from callboard.projects.node.declared import read_node_project
from callboard.projects.node.npm import explain_error
from callboard.projects.node.packages import read_lock, read_own_lock, read_packages, write_inputs
from callboard.projects.operator_index import read_npm_registry
from callboard.schemas.errors import ProjectError
from tests.support.files import write_files


def declare(folder: Path, more: dict[str, str] | None = None, /, **sections: Any) -> Path:
    return write_files(folder, {"package.json": json.dumps(sections), **(more or {})})


def refusal(folder: Path) -> str:
    with pytest.raises(ProjectError) as error:
        read_packages(folder)
    return error.value.message


def test_what_callboard_brings_and_what_is_for_development_is_left_out(tmp_path: Path):
    ours = {"playwright": "1", "playwright-core": "1", "@playwright/test": "1", "@intuned/browser": "1"}
    folder = declare(
        tmp_path,
        dependencies={**ours, "zod": "^4", "old-zod": "npm:zod@^3"},
        optionalDependencies={"fsevents": "*"},
        devDependencies={"typescript": "*"},
        overrides={"playwright": "2", "ws": "8"},
        scripts={"prepare": "evil"},
    )
    packages = read_packages(folder)
    assert packages is not None
    assert packages.package["dependencies"] == {"zod": "^4", "old-zod": "npm:zod@^3"}
    assert packages.package["optionalDependencies"] == {"fsevents": "*"}
    assert packages.package["overrides"] == {"ws": "8"}
    assert "devDependencies" not in packages.package
    assert "scripts" not in packages.package
    assert read_packages(declare(tmp_path / "plain", {"yarn.lock": ""}, dependencies=ours)) is None


@pytest.mark.parametrize(
    "spec",
    [
        *("git+ssh://git@host/x.git", "github:a/b", "a/b", "https://host/x.tgz", "link:./x", "workspace:*"),
        *("file:../outside", "file:/etc", "file:nowhere", "file:.", "../outside", "file:libs/../../outside"),
        *("file:package.json", "file:package-lock.json", "file:.npmrc", ".", "..", "nowhere.tgz", "nowhere.TAR"),
    ],
)
@pytest.mark.parametrize("section", ["dependencies", "optionalDependencies", "overrides"])
def test_packages_from_elsewhere_are_refused(tmp_path: Path, section: str, spec: str):
    write_files(tmp_path / "outside", {"package.json": "{}"})
    sections = {"dependencies": {"y": "1"}, section: {"y": {"x": spec}} if section == "overrides" else {"x": spec}}
    told = refusal(declare(tmp_path / "shop", {"package-lock.json": "{}", ".npmrc": ""}, **sections))
    assert told.startswith(f"package.json: the package x is {spec!r}")


def test_packages_in_the_project_are_copied_and_none_replaces_what_npm_is_told(tmp_path: Path):
    files = {"libs/package.json": "{}", "libs/own/package.json": '{"name": "own"}', "x.tar.gz": "packed"}
    packages = {"all": "file:libs", "own": "file:libs/own", "same": "./libs/own", "x": "file:x.tar.gz"}
    folder, work = declare(tmp_path / "shop", files, dependencies=packages), tmp_path / "work"
    read = read_packages(folder)
    assert read is not None
    write_inputs(folder, read, "the lock", work)
    written = {path.relative_to(work).as_posix(): path.read_text() for path in work.rglob("*") if path.is_file()}
    assert written == {**files, "package.json": json.dumps(read.package), "package-lock.json": "the lock"}


def test_a_lock_of_another_tool_alone_is_refused_with_what_to_do(tmp_path: Path):
    folder = declare(tmp_path, {"yarn.lock": ""}, dependencies={"zod": "4"})
    assert "npm install --package-lock-only" in refusal(folder)
    write_files(folder, {"package-lock.json": "{}"})
    assert read_packages(folder) is not None


@pytest.mark.parametrize("text", ["[", "[]", '{"dependencies": []}', '{"dependencies": {"x": 1}}'])
def test_a_package_json_that_is_none_is_refused(tmp_path: Path, text: str):
    assert refusal(write_files(tmp_path, {"package.json": text})).startswith("package.json: ")


def test_another_declaration_is_one_whose_packages_lock_or_folders_differ(tmp_path: Path):
    found = set[str]()
    steps = [{}, {"package-lock.json": "{}"}, {"libs/own/package.json": '{"version": "2.0.0"}'}, {"api/list.ts": ""}]
    write_files(tmp_path, {"libs/own/package.json": "{}"})
    for files in steps:
        packages = read_packages(declare(tmp_path, files, dependencies={"own": "file:libs/own"}))
        assert packages is not None
        found.add(packages.declaration)
    assert len(found) == 3


def test_an_own_lock_keeps_versions_and_hashes_and_loses_addresses(tmp_path: Path):
    entry = {"version": "4.0.0", "resolved": "https://evil.example/zod.tgz", "integrity": "sha512-x"}
    old = {"zod": {**entry, "dependencies": {"deep": {**entry, "resolved": "http://evil.example/"}}}}
    lock = {"lockfileVersion": 2, "packages": {"node_modules/zod": entry}, "dependencies": old}
    text = read_own_lock(write_files(tmp_path, {"package-lock.json": json.dumps(lock)}))
    assert text is not None
    assert "evil" not in text
    assert json.loads(text)["packages"]["node_modules/zod"] == {"version": "4.0.0", "integrity": "sha512-x"}


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"resolved": "git+ssh://git@host/x.git#1", "integrity": "sha512-x"}, "comes from git+ssh://git@host/x.git#1"),
        ({"resolved": "https://host/x.tgz", "integrity": "sha512-x"}, "comes from https://host/x.tgz"),
        ({"resolved": "../elsewhere", "link": True}, "comes from ../elsewhere"),
        ({"version": "https://host/x.tgz", "integrity": "sha512-x"}, "comes from x@https://host/x.tgz"),
        (
            {"name": "y@https://host/?", "version": "1.0.0", "integrity": "sha512-x"},
            "comes from y@https://host/?@1.0.0",
        ),
        ({"version": "1.0.0", "integrity": "sha512-x", "_hasShrinkwrap": True}, "comes from"),
        ({"version": "1.0.0"}, "the registry has no hash of the package x."),
    ],
)
def test_a_lock_with_what_is_not_from_the_registry_is_refused(tmp_path: Path, entry: dict[str, Any], told: str):
    packages = {"": {}, "node_modules/@a/b": {"integrity": "sha512-y"}, "node_modules/@a/b/node_modules/x": entry}
    write_files(tmp_path, {"package-lock.json": json.dumps({"packages": packages})})
    with pytest.raises(ProjectError) as error:
        read_lock(tmp_path)
    assert told in error.value.message


def test_the_lock_that_a_package_has_of_its_own_is_not_followed(tmp_path: Path):
    entry = {"version": "1.0.0", "resolved": "file:libs/own", "hasShrinkwrap": True}
    write_files(tmp_path, {"package-lock.json": json.dumps({"packages": {"": {}, "node_modules/own": entry}})})
    assert "hasShrinkwrap" not in read_lock(tmp_path)


def test_functions_are_apis_those_of_logins_and_the_hook(tmp_path: Path):
    files = ["api/a/list.ts", "auth-sessions/create.mts", "auth-sessions/check.js", "auth-sessions/more.ts"]
    others = ["hooks/setupContext.ts", "hooks/setup_context.py", "utils/x.ts"]
    folder = declare(tmp_path, dict.fromkeys([*files, *others], ""))
    project = read_node_project(folder)
    assert project is not None
    assert project.functions == {
        "api/a/list": "api/a/list.ts",
        "auth-sessions/check": "auth-sessions/check.js",
        "auth-sessions/create": "auth-sessions/create.mts",
        "hooks/setupContext": "hooks/setupContext.ts",
    }


MISSING = """
npm error code E404
npm error 404 Not Found - GET https://h/nope - Not found
npm error 404
npm error 404  The requested resource 'nope@^1' could not be found or you do not have permission to access it.
npm error 404  'nope@^1' is not in this registry.
"""
OTHER = "npm error code EINTEGRITY\nnpm error sha512-a integrity checksum failed: wanted x\n"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (MISSING, "there is no package nope in the package registry"),
        (
            "npm error code ETARGET\nnpm error notarget No matching version found for zod@^99.\n",
            "there is no version zod@^99 in the package registry",
        ),
        (OTHER, "a package is not what its hash in the lock says: sha512-a integrity checksum failed: wanted x"),
        ("npm error code EX\nnpm error Something.\nended, as it took more than 1 MiB", "it took more than 1 MiB"),
        ("", "it does not say"),
    ],
)
def test_errors_of_npm_are_told_in_a_sentence(said: str, told: str):
    assert explain_error(said) == told


def test_the_registry_is_the_operator_s_and_credentials_are_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY", "CALLBOARD_NPM_REGISTRY", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NPM_CONFIG_USERCONFIG", str(tmp_path / "npmrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_npm_registry().address is None
    lines = ["; a comment", "registry = https://npm.example/all", "//npm.example/all/:_authToken=${WORD}"]
    (tmp_path / "npmrc").write_text("\n".join(lines))
    monkeypatch.setenv("WORD", "secret")
    found = read_npm_registry()
    assert found.address == "https://npm.example/all/"
    assert found.places == {("npm.example", 443)}
    assert found.sign_in is not None
    assert found.sign_in["indexes"] == [("https://npm.example/all/", "secret")]
    assert "secret" not in str(found.variables)
    monkeypatch.setenv("CALLBOARD_NPM_REGISTRY", "http://me:word@other.example:8081/npm")
    found = read_npm_registry()
    assert found.address == "http://other.example:8081/npm/"
    assert found.sign_in is not None
    assert found.sign_in["indexes"] == [("http://other.example:8081/npm/", ("me", "word"))]
    monkeypatch.setenv("CALLBOARD_NPM_REGISTRY", "npm.example")
    with pytest.raises(ValueError, match="CALLBOARD_NPM_REGISTRY is no address"):
        read_npm_registry()


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["../../evil.cjs"], "evil.cjs"),
        (["/evil.cjs"], "evil.cjs"),
        (["api/list.cjs", "api/other.cjs"], "api/other.cjs"),
        (["api/list.cjs", "api/list.cjs"], "api/list.cjs"),
        (["api/list.cjs -> /etc/passwd"], "api/list.cjs"),
        ([], "nothing for api/list.cjs"),
        (None, "what is no archive"),
    ],
)
def test_a_worker_that_was_taken_over_can_write_nothing_but_the_functions(
    tmp_path: Path, names: list[str] | None, told: str
):
    archive, folder = tmp_path / "compiled.tar.gz", tmp_path / "a" / "version"
    folder.mkdir(parents=True)
    with tarfile.open(archive, "w:gz") as packed:
        for name, _, target in (name.partition(" -> ") for name in names or ()):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = (tarfile.SYMTYPE, target) if target else (tarfile.REGTYPE, "")
            entry.size = 0 if target else 1
            packed.addfile(entry, io.BytesIO(b"x"))
    if names is None:
        archive.write_bytes(b"no archive")
    with pytest.raises(ProjectError) as error:
        unpack_compiled(archive, folder, ["api/list"])
    assert told in error.value.message
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path != archive]
    assert [path.relative_to(folder).as_posix() for path in written] in ([], [".callboard/api/list.cjs"])
