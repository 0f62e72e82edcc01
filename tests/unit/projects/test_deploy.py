"""A deploy publishes a whole version or nothing."""

import json
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from callboard.projects.built import Built, CompiledCode, Described, complete
from callboard.projects.deploy import deploy, store_version
from callboard.projects.input_schemas import ApiDescriptions
from callboard.projects.manifest import Manifest, NodeEnvironment
from callboard.projects.node.declared import compiler_digest
from callboard.projects.preparation import bundle_in, prepare
from callboard.schemas.errors import ProjectError, StoreError
from callboard.storage import object_keys
from callboard.storage.folder import FolderStore
from tests.support.faulty_store import FaultyStore
from tests.support.files import write_files
from tests.support.project_folders import AUTOMATION, Deployed, Make


async def stored(store: FolderStore) -> list[str]:
    return [key async for key in store.list("")]


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path / "tmp"


async def test_bundle_manifest_and_pointer_are_written(make_project: Make, store: FolderStore):
    before = datetime.now(UTC)
    folder = make_project({"Intuned.jsonc": '{"replication": {"maxCount": 2}, /* */}', "api/ai/x.py": AUTOMATION})
    manifest = await deploy(folder, store)
    assert manifest.project == "shop"
    assert manifest.apis == ("ai/x", "list")
    assert manifest.settings.machines == 2
    assert manifest.warnings == ()
    assert before <= manifest.created_at <= datetime.now(UTC)
    assert [key for key in await stored(store) if "/deploys/" not in key] == [
        "projects/last-deploy.json",
        "projects/shop/current.json",
        f"projects/shop/versions/{manifest.version}/bundle.tar.gz",
        f"projects/shop/versions/{manifest.version}/files.json",
        f"projects/shop/versions/{manifest.version}/manifest.json",
        f"projects/shop/versions/{manifest.version}/schemas.json",
    ]
    current = json.loads(await store.get(object_keys.current_version("shop")) or b"")
    assert current["version"] == manifest.version
    assert before <= datetime.fromisoformat(current["deployedAt"]) <= datetime.now(UTC)
    on_disk = await store.get(object_keys.manifest("shop", manifest.version)) or b""
    assert Manifest.model_validate_json(on_disk) == manifest
    assert json.loads(on_disk)["settings"]["browserSize"] == {"width": 1024, "height": 800}


async def test_the_note_of_the_latest_deploy_comes_last_and_is_always_another(
    make_project: Make, store: FolderStore, monkeypatch: pytest.MonkeyPatch
):
    written: list[str] = []
    put = store.put

    async def listen(key: str, data: bytes) -> None:
        written.append(key)
        await put(key, data)

    monkeypatch.setattr(store, "put", listen)
    folder = make_project()
    notes: set[bytes | None] = set()
    for _ in range(3):
        await deploy(folder, store)
        assert written[-2:] == [object_keys.current_version("shop"), object_keys.LAST_DEPLOY]
        notes.add(await store.get(object_keys.LAST_DEPLOY))
    assert len(notes) == 3


async def test_no_scratch_folder_is_left(temporary_folder: Path, deployed: Deployed):
    await deployed()
    with pytest.raises(ProjectError):
        await deployed({"Intuned.jsonc": "["})
    assert not os.listdir(temporary_folder)  # noqa: PTH208


async def test_the_same_files_are_the_same_version_and_only_the_pointer_moves(
    make_project: Make, store: FolderStore, tmp_path: Path
):
    folder = make_project()
    first = await deploy(folder, store)
    bundle = tmp_path / "artifacts" / object_keys.bundle("shop", first.version)
    inode = bundle.stat().st_ino
    (folder / "api" / "list.py").write_text("async def automation(page): return 2\n")
    second = await deploy(folder, store)
    assert second.version != first.version
    make_project()
    assert await deploy(folder, store) == first
    assert json.loads(await store.get(object_keys.current_version("shop")) or b"")["version"] == first.version
    assert bundle.stat().st_ino == inode
    assert len([key for key in await stored(store) if "/deploys/" not in key]) == 10


async def test_a_damaged_manifest_is_repaired_by_a_deploy(make_project: Make, store: FolderStore):
    folder = make_project()
    first = await deploy(folder, store)
    for damage in (b"{", b"{}", first.to_bytes().replace(b'"list"', b'"older"')):
        await store.put(object_keys.manifest("shop", first.version), damage)
        again = await deploy(folder, store)
        assert await store.get(object_keys.manifest("shop", first.version)) == again.to_bytes()
        assert again.apis == ("list",)


async def test_a_file_with_a_syntax_error_is_a_warning(make_project: Make, store: FolderStore):
    broken = {"api/broken.py": "\ndef (:\n", "auth-sessions/create.py": "async def create(page"}
    folder = make_project({**logins("API", "check"), **broken, "api/list/sub.py": AUTOMATION})
    manifest = await deploy(folder, store)
    assert [str(warning) for warning in manifest.warnings] == [
        "api/list/sub.py: it cannot be imported beside api/list.py, a module of its folder's name; rename one of them",
        "api/broken.py, line 2: invalid syntax",
        "auth-sessions/create.py, line 1: '(' was never closed",
    ]
    assert manifest.apis == ("broken", "list", "list/sub")
    assert Manifest.model_validate_json(manifest.to_bytes()) == manifest


async def test_what_a_deploy_leaves_out_is_said_with_its_file(make_project: Make, store: FolderStore):
    folder = make_project(
        {
            "Intuned.jsonc": '{"region": "de"}',
            "Intuned.toml": "",
            "api/old.ts": "",
            "api/types.d.ts": "",
            "intuned-resources/buckets/b.bucket.json": "{}",
        }
    )
    manifest = await deploy(folder, store)
    assert [str(warning) for warning in manifest.warnings] == [
        "Intuned.jsonc: region: ignored, as Runs are executed wherever the workers are",
        "Intuned.toml: ignored, as the settings are read from Intuned.jsonc",
        "intuned-resources/buckets: ignored, as a deploy makes Jobs and AuthSessions only",
        "api/old.ts: not served, as a project in TypeScript has a package.json",
    ]
    assert manifest.apis == ("list",)
    assert await deploy(folder, store) == manifest


async def test_a_gitignore_may_leave_out_an_api_but_not_the_settings(make_project: Make, store: FolderStore):
    folder = make_project({".gitignore": "draft.py\n", "api/draft.py": "async def automation(page): ..."})
    manifest = await deploy(folder, store)
    assert manifest.apis == ("list",)
    assert [str(warning) for warning in manifest.warnings] == ["api/draft.py: left out, as a .gitignore names it"]
    (folder / "api" / "draft.py").unlink()
    assert (await deploy(folder, store)).version == manifest.version

    (folder / ".gitignore").write_text("*.jsonc")
    with pytest.raises(ProjectError, match=r"^Intuned\.jsonc: a \.gitignore leaves out the settings file"):
        await deploy(folder, store)


async def test_no_secret_of_the_settings_is_in_what_a_deploy_answers(deployed: Deployed):
    secret = "t0p-s3cret"
    sink = {"type": "webhook", "url": "https://hook.example", "headers": {"authorization": secret}}
    settings = {"proxy": {"deployed": f"http://me:{secret}@proxy:8080"}, "defaults": {"sink": {"dev": sink}}}
    manifest = await deployed({"Intuned.jsonc": json.dumps(settings)})
    assert secret not in repr(manifest)
    assert manifest.settings.proxy_in("deployed") == f"http://me:{secret}@proxy:8080"
    assert manifest.settings.defaults.sink
    assert Manifest.model_validate_json(manifest.to_bytes()) == manifest


def logins(kind: str, *code: str) -> dict[str, str]:
    """Files of a project with logins of a kind, of which it has this code."""
    settings = json.dumps({"authSessions": {"enabled": True, "type": kind}})
    return {
        "Intuned.jsonc": settings,
        **{f"auth-sessions/{name}.py": f"async def {name}(page, params=None): ...\n" for name in code},
    }


@pytest.mark.parametrize(
    ("kind", "code", "missing"),
    [
        ("API", [], "create.py and no auth-sessions/check.py"),
        ("API", ["check"], "create.py"),
        ("MANUAL", [], "check.py"),
    ],
)
async def test_a_project_without_the_code_of_its_logins_is_refused(
    make_project: Make, store: FolderStore, kind: str, code: list[str], missing: str
):
    folder = make_project(logins(kind, *code))
    with pytest.raises(ProjectError) as error:
        await deploy(folder, store)
    assert error.value.message == (
        f"{folder}: authSessions.enabled is true, but the project has no auth-sessions/{missing}. "
        "Create what is missing, or set authSessions.enabled to false."
    )
    assert await stored(store) == []


@pytest.mark.parametrize(("kind", "code"), [("API", ["create", "check"]), ("MANUAL", ["check"])])
async def test_a_project_with_logins_is_deployed(kind: str, code: list[str], deployed: Deployed):
    """A login that a person has recorded needs no code that makes it."""
    manifest = await deployed(logins(kind, *code))
    assert (manifest.settings.auth_sessions.type, manifest.warnings) == (kind, ())


async def test_a_folder_that_is_no_project_is_refused(tmp_path: Path, store: FolderStore, deployed: Deployed):
    with pytest.raises(ProjectError, match="there is no such folder"):
        await deploy(tmp_path / "missing", store)
    with pytest.raises(ProjectError, match="this is not a project, as it has no settings file"):
        await deploy(tmp_path, store)
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "Intuned.json").write_text("{}")
    with pytest.raises(ProjectError, match="there is no folder api in the project"):
        await deploy(tmp_path / "bare", store)
    with pytest.raises(ProjectError, match=r"^Intuned\.jsonc: headful: expected true or false, found 1$"):
        await deployed({"Intuned.jsonc": '{"headful": 1}'})
    with pytest.raises(ProjectError, match="cannot be a project's name"):
        await deployed(name="My Shop")
    assert await stored(store) == []


@pytest.mark.parametrize("refuses", ["manifest.json", "current.json"])
async def test_a_deploy_that_fails_leaves_the_earlier_version_deployed(
    make_project: Make, tmp_path: Path, refuses: str
):
    store = FaultyStore(tmp_path / "artifacts")
    folder = make_project()
    first = await deploy(folder, store)
    (folder / "api" / "list.py").write_text("")
    store.refuse = lambda key: key.endswith(refuses)
    with pytest.raises(StoreError, match="away"):
        await deploy(folder, store)
    store.refuse = lambda _key: False
    assert json.loads(await store.get(object_keys.current_version("shop")) or b"")["version"] == first.version
    assert (await deploy(folder, store)).version != first.version


def test_another_compiler_makes_another_version_of_a_project_in_typescript(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def version(files: dict[str, str], compiler: str) -> str:
        monkeypatch.setattr("callboard.projects.preparation.compiler_digest", lambda: compiler)
        (scratch := tmp_path / f"scratch-{len(list(tmp_path.iterdir()))}").mkdir()
        return prepare(write_files(tmp_path / "shop", files), scratch).manifest.version

    files = {"Intuned.jsonc": "{}", "package.json": "{}", "api/list.ts": "export default () => 1"}
    assert version(files, "a") == version(files, "a") != version(files, "b")


async def test_a_worker_that_has_built_a_version_changes_no_packages_names_no_address_and_is_of_this_callboard(
    tmp_path: Path, store: FolderStore
):
    files = {"Intuned.jsonc": "{}", "package.json": '{"dependencies": {"x": "1"}}', "api/list.ts": ""}
    folder = write_files(tmp_path / "shop", files)

    def lock(**entry: str) -> str:
        locked = {"version": "1.0.0", "integrity": "sha512-x", **entry}
        return json.dumps({"packages": {"": {}, "node_modules/x": locked}})

    async def stored_after(lock: str, compiler: str = compiler_digest()) -> bytes | None:
        (scratch := tmp_path / f"scratch-{len(list(tmp_path.iterdir()))}").mkdir()
        prepared = prepare(folder, scratch)
        assert prepared.sources.node is not None
        packages = prepared.sources.node.packages
        assert packages is not None
        environment = NodeEnvironment(language="typescript", declaration=packages.declaration)
        compiled = CompiledCode(environment=environment, compiler=compiler, lock=lock)
        built = Built(compiled=compiled, described=Described(apis=ApiDescriptions(apis={})))
        manifest = complete(prepared.manifest, prepared.sources, built)
        await store_version(store, manifest, prepared, built, bundle_in(scratch))
        return await store.get(object_keys.environment("shop", packages.declaration))

    assert await stored_after(lock()) == lock().encode()
    (folder / "api" / "list.ts").write_text("// another version\n")
    assert await stored_after(lock(version="2.0.0")) == lock().encode()
    with pytest.raises(ProjectError, match=r"comes from http://evil\.example/x\.tgz"):
        await stored_after(lock(resolved="http://evil.example/x.tgz"))
    with pytest.raises(ProjectError, match="of another version of Callboard"):
        await stored_after(lock(), compiler="that of another one")


def test_the_functions_of_a_login_in_typescript_are_looked_for_by_their_names(tmp_path: Path):
    settings = '{"authSessions": {"enabled": true, "type": "API"}}'
    files = {"Intuned.jsonc": settings, "package.json": "{}", "api/list.ts": "", "auth-sessions/create.py": ""}
    folder, scratch = write_files(tmp_path / "shop", files), tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(ProjectError, match=r"no auth-sessions/create\.ts and no auth-sessions/check\.ts"):
        prepare(folder, scratch)
    write_files(folder, {"auth-sessions/create.ts": "", "auth-sessions/check.js": ""})
    assert prepare(folder, scratch).manifest.apis == ("list",)
