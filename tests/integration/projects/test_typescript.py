"""Projects in TypeScript are compiled by a deploy, in the box, and their packages come from the operator's registry."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from temporalio.testing import ActivityEnvironment

from activities.upload_deploys import BuildActivities, UploadActivities
from callboard.machines.box import node_program
from callboard.projects.deploy import deploy
from callboard.projects.environments import Environments
from callboard.projects.input_schemas import InputSchemas
from callboard.projects.manifest import NodeEnvironment, read_manifest
from callboard.projects.node import compiler
from callboard.projects.upload import UploadLimits, pack_upload
from callboard.schemas.errors import ProjectError
from callboard.schemas.workflow.deploy import BuildInput, CheckedUpload, DeployInput
from callboard.storage import object_keys
from callboard.storage.folder import FolderStore
from tests.support.certificates import Authority
from tests.support.constants import WORKSPACE
from tests.support.files import write_files
from tests.support.machines import attempt_of, value
from tests.support.npm_registry import NpmRegistry, npm_registry
from tests.support.package_box import package_box
from tests.support.project_host import Host

TOKEN = "a-token-of-the-operator"
PROJECT = {
    "Intuned.jsonc": "{}",
    "package.json": """{"dependencies": {
        "@intuned/runtime": "1.3.38", "playwright": "~1.61.1", "tiny": "^1.0.0", "beside": "1", "own": "file:libs/own"
    }, "devDependencies": {"there-is-no-such-package": "*"}}""",
    "tsconfig.json": '{"compilerOptions": {"paths": {"~/*": ["./utils/*"]}}}',
    ".npmrc": "registry=http://127.0.0.1:9/\nignore-scripts=false\n",
    "libs/own/package.json": '{"name": "own", "version": "1.0.0", "scripts": {"postinstall": "touch /tmp/executed"}}',
    "libs/own/index.js": "exports.own = 'own';",
    "utils/kinds.ts": "export enum Kind { Book = 'book' }\nexport const label = (kind: Kind): string => `a ${kind}`;\n",
    "utils/more.ts": "export const more: number = 3;\n",
    "api/shop/list.ts": """
import type { BrowserContext, Page } from 'playwright';
import { tiny } from 'tiny';
import beside from 'beside';
import { own } from 'own';
import { Kind, label } from '../../utils/kinds';
import { more } from '../../utils/more.js';
import { more as same } from '~/more';

export default async function handler(params: { x: number }, page: Page, context: BrowserContext) {
  await page.setContent('<h1>here</h1>');
  const executed = require('node:fs').existsSync('/tmp/executed') || beside.executed;
  return { x: params.x, label: label(Kind.Book), more, same, tiny, beside: beside.text, own, executed,
    title: await page.innerText('h1'), packages: beside.environment };
}
""",
    "api/plain.js": "module.exports = async () => 1;\n",
    "hooks/setupContext.ts": "export default async function setupContext(of: { apiName: string }) {}\n",
}
LOOKS_BESIDE = """
const fs = require('fs'), path = require('path');
exports.text = fs.readFileSync(path.join(__dirname, 'beside.txt'), 'utf8');
exports.executed = fs.existsSync(path.join(__dirname, 'executed'));
exports.environment = Object.keys(process.env).filter((name) => /npm|registry/i.test(name));
"""


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[NpmRegistry]:
    """The operator's registry, which wants to be signed in to."""
    authority = Authority(tmp_path / "authority")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with npm_registry(TOKEN, authority.sign("registry", "localhost")) as registry:
        host = registry.address.partition("://")[2]
        write_files(tmp_path, {"npmrc": f"registry={registry.address}\n//{host}:_authToken=${{MY_TOKEN}}\n"})
        monkeypatch.setenv("NPM_CONFIG_USERCONFIG", str(tmp_path / "npmrc"))
        monkeypatch.setenv("MY_TOKEN", TOKEN)
        registry.add("tiny", {"index.js": "exports.tiny = 'compiled in';"})
        scripts = {"preinstall": "env > executed", "install": "touch executed", "postinstall": "touch executed"}
        files = {"index.js": LOOKS_BESIDE, "beside.txt": "a file beside it"}
        registry.add("beside", files, scripts=scripts, dependencies={"deep": "*"})
        registry.add("deep", {"index.js": ""})
        yield registry


async def test_a_project_is_compiled_with_its_packages_and_runs(host: Host, registry: NpmRegistry, tmp_path: Path):
    folder = write_files(tmp_path / "shop", PROJECT)
    manifest = await deploy(folder, host.store, host.environments)
    assert manifest.apis == ("plain", "shop/list")
    assert [str(warning) for warning in manifest.warnings] == [
        ".npmrc: not followed, as packages come from the registry that the operator has named"
    ]
    # What looks for files beside itself stays outside of the compiled code, and the rest is in it.
    version = await host.version(manifest)
    compiled = {path.relative_to(version.folder).as_posix() for path in version.folder.rglob("*.cjs")}
    assert compiled == {f".callboard/{name}.cjs" for name in ("api/plain", "api/shop/list", "hooks/setupContext")}
    code = (version.folder / ".callboard/api/shop/list.cjs").read_text()
    assert "compiled in" in code
    assert 'require("beside")' in code
    assert version.node is not None
    assert version.node.modules is not None
    # Its packages, with those that they require, are what the registry has, by a lock with hashes and no address.
    locked = await host.listed(manifest)
    assert locked.count('"integrity"') == 3
    assert "http" not in locked
    assert sorted(path.name for path in (version.node.modules / "node_modules").iterdir() if path.name[0] != ".") == [
        *("beside", "deep", "own", "tiny")
    ]
    assert {path for path in registry.asked if path.endswith(".tgz")} == set(registry.archives)
    pool = host.lab.pool(project="shop")
    assert value(await pool.run_attempt(version, attempt_of("shop/list", {"x": 2}))) == {
        "x": 2,
        "label": "a book",
        "more": 3,
        "same": 3,
        "tiny": "compiled in",
        "beside": "a file beside it",
        "own": "own",
        "executed": False,
        "title": "here",
        "packages": [],
    }
    # A change of code keeps the packages: nothing newer is looked for, and nothing is installed again.
    registry.add("tiny", {"index.js": "exports.tiny = 'newer';"}, "1.1.0")
    registry.asked.clear()
    (folder / "api/plain.js").write_text("module.exports = async () => 2;\n")
    again = await deploy(folder, host.store, host.environments)
    assert again.version != manifest.version
    assert again.environment == manifest.environment
    assert registry.asked == []


@pytest.fixture
def environments(tmp_path: Path) -> Environments:
    return Environments(tmp_path / "environments", package_box())


async def test_an_own_lock_stands_and_what_npm_refuses_is_told(
    tmp_path: Path, environments: Environments, registry: NpmRegistry
):
    folder, store = tmp_path / "shop", FolderStore(tmp_path / "artifacts")
    files = {"Intuned.jsonc": "{}", "api/list.ts": "import { tiny } from 'tiny';\nexport default async () => tiny;\n"}

    async def told(package: str, lock: str) -> str:
        write_files(folder, {**files, "package.json": package, "package-lock.json": lock})
        try:
            manifest = await deploy(folder, store, environments)
        except ProjectError as error:
            return error.message
        assert isinstance(manifest.environment, NodeEnvironment)
        assert not manifest.environment.installed
        key = object_keys.environment("shop", manifest.environment.declaration or "")
        return json.loads(await store.get(key) or b"")["packages"]["node_modules/tiny"]["version"]

    def lock(integrity: str) -> str:
        entry = {"version": "1.0.0", "resolved": "http://127.0.0.1:9/tiny.tgz", "integrity": integrity}
        packages = {"": {"dependencies": {"tiny": "*"}}, "node_modules/tiny": entry}
        return json.dumps({"name": "shop", "lockfileVersion": 3, "packages": packages})

    registry.add("tiny", {"index.js": "exports.tiny = 'newer';"}, "1.1.0")
    package = '{"dependencies": {"tiny": "*"}}'
    integrity = registry.packages["tiny"]["versions"]["1.0.0"]["dist"]["integrity"]
    assert await told(package, lock(integrity)) == "1.0.0"
    other = lock(integrity.replace("512-", "512-AA"))
    assert "a package is not what its hash in the lock says" in await told(package, other)
    assert await told('{"dependencies": {"nowhere": "1"}}', "{}") == (
        "package.json: the dependencies cannot be resolved: there is no package nowhere in the package registry."
    )
    registry.token = "another"
    assert "wants other credentials" in await told('{"dependencies": {"tiny": "1.1.0"}}', "{}")


async def refused(
    folder: Path, environments: Environments, dependencies: Mapping[str, str] | None = None, /, **files: str
) -> str:
    """Why a project with these files is refused; in their names, `__` stands for `/`."""
    named = {f"{name.replace('__', '/')}.ts": text for name, text in files.items()}
    package = json.dumps({"dependencies": dependencies or {}})
    write_files(folder, {"Intuned.jsonc": "{}", "package.json": package, **named})
    with pytest.raises(ProjectError) as error:
        await deploy(folder, FolderStore(folder.with_name("artifacts")), environments)
    return error.value.message


async def test_what_does_not_compile_is_named_with_file_line_and_reason(tmp_path: Path, environments: Environments):
    own = {"package.json": '{"name": "zod", "version": "3.22.4", "exports": {".": "./index.js"}}', "index.js": ""}
    write_files(tmp_path / "broken" / "libs" / "zod", own)
    told = await refused(
        tmp_path / "broken",
        environments,
        {"zod": "file:libs/zod"},
        api__broken="import z from 'zod/v4';\nimport { x } from '../utils/nowhere';\nexport default () => z(x);\n",
        api__unfinished="export default async function () {\n  return [1, ;\n}\n",
        api__wide=f"import '{'x' * 17 * 1024**2}';\n",
    )
    assert 'api/wide.ts, line 1: Could not resolve "xxx' in told
    assert [line for line in told.splitlines() if "xxx" not in line] == [
        "api/broken.ts, line 1: the package zod is not among the dependencies of package.json, or has no zod/v4",
        'api/broken.ts, line 2: Could not resolve "../utils/nowhere"',
        'api/unfinished.ts, line 2: Unexpected ";"',
    ]


async def test_a_file_without_a_function_is_refused_and_one_that_cannot_be_loaded_is_told(
    tmp_path: Path, environments: Environments
):
    forged = [
        "[" * 30_000,
        '{"of": "api/ghost", "type": "function", "parameters": "{}"}',
        '{"of": "api/good", "type": []}',
    ]
    printed = f"require('fs').writeSync(1, {json.dumps(''.join(f'{line}\n' for line in forged))});"
    good = {"api__good": f"{printed}\nexport default async () => [process.env.HOME, __dirname];"}
    bad = {"api__none": "export const x = 1;", "api__number": "export default 3;"}
    told = await refused(tmp_path / "none", environments, **good, **bad)
    assert [line.partition(".ts: its default export is no function")[0] for line in told.splitlines()] == [
        *("api/none", "api/number")
    ]
    throws = "throw new TypeError(`no ${process.env.TARGET}\\ud800`);"
    for name in ("none", "number"):
        (tmp_path / "none" / "api" / f"{name}.ts").write_text(throws if name == "none" else "process.exit(0);")
    manifest = await deploy(tmp_path / "none", FolderStore(tmp_path / "artifacts"), environments)
    assert [str(warning) for warning in manifest.warnings] == [
        "api/good.ts, line 2: its folder is another one once it is compiled: read files by their path in the project",
        "api/none.ts: it could not be loaded in the deploy: TypeError: no undefined\ufffd",
        "api/number.ts: loading it ends the process, or does not end within 60 seconds",
    ]


async def test_of_the_node_nothing_but_its_file_is_in_the_box(
    tmp_path: Path, environments: Environments, monkeypatch: pytest.MonkeyPatch
):
    node, beside = tmp_path / "bin" / "node", tmp_path / "bin" / "beside"
    write_files(tmp_path, {"bin/beside": ""})
    node.symlink_to(node_program())
    monkeypatch.setenv("CALLBOARD_NODE", str(node))
    looks = f"if (require('node:fs').existsSync('{beside}')) throw new Error('it is there');"
    files = {"Intuned.jsonc": "{}", "package.json": "{}", "api/looks.ts": f"{looks}\nexport default async () => 1;"}
    manifest = await deploy(write_files(tmp_path / "shop", files), FolderStore(tmp_path / "artifacts"), environments)
    assert (manifest.apis, manifest.warnings) == (("looks",), ())


async def test_what_compiles_has_no_network(
    tmp_path: Path, environments: Environments, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "compile.js").write_text(
        "const text = Object.keys(require('os').networkInterfaces()).join();\n"
        "console.log(JSON.stringify({ errors: [{ text, file: null, line: null }] }));\n"
    )
    monkeypatch.setattr(compiler, "_COMPILE", tmp_path / "compile.js")
    assert await refused(tmp_path / "shop", environments, api__list="") == "package.json: lo"


async def test_what_apis_say_of_their_parameters_and_results_is_read(tmp_path: Path, environments: Environments):
    schema = "{ type: 'object', properties: { url: { type: 'string' } }, required: ['url'] }"
    function = "export default async () => 1;"
    files = {
        "Intuned.jsonc": '{"projectName": "shop", "apiAccess": {"validateParameters": true}}',
        "package.json": "{}",
        "api/says.ts": f"export const parametersSchema = {schema};\nexport const resultSchema = {{ type: 'array' }};\n"
        f"{function}",
        "api/more.ts": f"export const parametersSchema = {{ ...{schema}, unevaluatedItems: false }};\n{function}",
        "api/nothing.ts": function,
        "api/odd.ts": f"export const parameters = {{ url: 'text' }};\nexport const resultSchema = 1n;\n{function}",
    }
    store = FolderStore(tmp_path / "store")
    manifest = await deploy(write_files(tmp_path / "shop", files), store, environments)
    told = await InputSchemas().get(store, "shop", manifest.version)
    whole = {"type": "object", "properties": {"url": {"type": "string"}}, "required": ["url"]}
    assert {api: told.of(api).input_schema for api in manifest.apis} == {
        "more": {**whole, "unevaluatedItems": False},
        "nothing": None,
        "odd": None,
        "says": whole,
    }
    results = {api: told.of(api).result_schema for api in manifest.apis}
    assert results == {"more": None, "nothing": None, "odd": None, "says": {"type": "array"}}
    assert [str(warning)[:80] for warning in manifest.warnings] == [
        "api/odd.ts: its parameters are not described and not checked: `parameters` is no",
        "api/odd.ts: what it returns is not described: Do not know how to serialize a BigInt"[:80],
        "api/more.ts: starts are not checked by these keywords of its schema: unevaluated",
    ]


async def test_an_upload_is_compiled_by_a_worker_and_is_the_same_version_as_the_folder(
    tmp_path: Path, environments: Environments
):
    code = "import './plain.css';\nimport own from './own.module.css';\nexport default async () => own as object;\n"
    sheets = {"api/plain.css": "@import './own.module.css'; p { color: red }", "api/own.module.css": ".own { top: 0 }"}
    files = {"Intuned.jsonc": "{}", "package.json": "{}", "api/list.ts": code, **sheets}
    folder, store = write_files(tmp_path / "shop", files), FolderStore(tmp_path / "store")
    direct = await deploy(folder, FolderStore(tmp_path / "other"), environments)
    pack_upload(folder, tmp_path / "upload.tar.gz")
    await store.put_file(object_keys.upload_bundle("shop", "u1"), tmp_path / "upload.tar.gz")
    limits = UploadLimits(packed=1024**2)
    control = UploadActivities(store=store, root=tmp_path / "control", limits=limits, max_machines=None)
    browser = BuildActivities(store=store, environments=environments, root=tmp_path / "browser")
    for activities in (control, browser):
        activities.root.mkdir()
    order = DeployInput(workspace=WORKSPACE, project="shop", upload="u1", by="ci")
    checked = await ActivityEnvironment().run(control.check_upload, order)
    assert isinstance(checked, CheckedUpload)
    build = BuildInput(project="shop", upload="u1", version=checked.version)
    await ActivityEnvironment().run(browser.build_version, build)
    await ActivityEnvironment().run(control.publish_upload, order)
    manifest = await read_manifest(store, "shop", checked.version)
    assert manifest is not None
    assert manifest.version == direct.version
    assert manifest.environment == direct.environment == NodeEnvironment(language="typescript")
    bundles = [each / object_keys.bundle("shop", direct.version) for each in (tmp_path / "store", tmp_path / "other")]
    assert bundles[0].read_bytes() == bundles[1].read_bytes()
    with tarfile.open(bundles[0]) as archive:
        assert ".callboard/api/list.cjs" in archive.getnames()
    await ActivityEnvironment().run(control.remove_upload, order)
    assert [key async for key in store.list(object_keys.UPLOADS)] == []
