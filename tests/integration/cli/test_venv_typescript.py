"""`callboard venv` for a project in TypeScript: its `node_modules`, and what `callboard new` has written for it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from callboard.machines.box import node_program
from callboard.projects.deploy import deploy
from callboard.projects.environments import Environments
from callboard.projects.skeleton import TEMPLATES, write_skeleton
from callboard.storage.folder import FolderStore
from tests.support.files import write_files
from tests.support.package_box import package_box
from tests.support.package_index import FETCHED
from tests.support.processes import callboard_process

IN_TYPESCRIPT = [name for name in TEMPLATES if name.startswith("typescript")]
OURS = ("@callboard/runtime", "@intuned/browser", "@intuned/runtime", "playwright", "playwright-core")
ASK = """
import { requestInput } from '@callboard/runtime';

export default async function handler() {
  return await requestInput('The code', { pattern: /[0-9]{6}/ });
}
"""
CREATE = """
import { handOver, requestInput } from '@callboard/runtime';

export default async function* create({ user }, page) {
  await page.goto('http://shop.test');
  const code = yield requestInput('The code');
  yield handOver(page, 'Be a person');
  const who = await page.evaluate(() => document.body.textContent);
  await page.evaluate((text) => localStorage.setItem('member', text), `${user} ${code} ${who}`);
}
"""
MEMBER = """
import { getAuthSessionParameters } from '@intuned/runtime';

export default async function handler(params, page) {
  await page.goto('http://shop.test');
  return [await page.evaluate(() => localStorage.getItem('member')), await getAuthSessionParameters()];
}
"""
ANSWERS = """
import { runApi } from '@callboard/runtime/test';
import assert from 'node:assert/strict';
import { test } from 'node:test';

test('is answered by name', async () => {
  assert.equal((await runApi('ask', {}, { answers: { code: '493027' } })).result, '493027');
  await assert.rejects(runApi('ask'), /requestInput has no answer code in this test/);
});

test('makes a login, with which other calls begin', async () => {
  const prepare = (page) => page.route('**', (route) => route.fulfill({ contentType: 'text/html', body: 'Hello' }));
  const handOver = (page) => page.evaluate(() => (document.body.textContent = 'a person'));
  const answers = { code: '493027', handOver };
  const made = await runApi('auth-sessions/create', { user: 'Tess' }, { answers, prepare });
  const { result } = await runApi('member', {}, { authSession: made.authSession, prepare });
  assert.deepEqual([made.result, result], [null, ['Tess 493027 a person', { user: 'Tess' }]]);
});
"""
USES = r"""
import { HandoffTimeout, handOver, NotRetryable, requestInput, RetryLater } from '@callboard/runtime';
import { runApi } from '@callboard/runtime/test';
import { goToUrl } from '@intuned/browser';
import { attemptStore, extendPayload, persistentStore, RunError } from '@intuned/runtime';
import type { BrowserContext, Page } from 'playwright';
import type { Locator } from 'playwright-core';
import { z } from 'zod';

export default async function handler(params: { url: string }, page: Page, context: BrowserContext) {
  await goToUrl({ page, url: params.url });
  const found: Locator = page.getByRole('listitem');
  extendPayload({ api: 'more', parameters: { pages: z.number().parse(context.pages().length) } });
  attemptStore.set('titles', await found.allInnerTexts());
  if (await persistentStore.get('stop')) throw new RunError('stopped', { cause: new NotRetryable('as it says') });
  if (process.env.LATER) throw new RetryLater(60);
  const { authSession } = await runApi('auth-sessions/create', { user: 'Tess' });
  await handOver(page, 'Log in', { until: () => page.waitForURL('**/home'), timeout: '10m' });
  await handOver(page, 'Log in', { until: page.waitForURL('**/home') });
  const answers = { code: '493027', handOver: (page: Page) => page.click('text=OK') };
  return (await runApi('hello', {}, { answers, authSession })).result;
}

export async function* create(): AsyncGenerator<unknown, void, string> {
  try {
    const code: string = yield requestInput('The code', { pattern: /\d{6}/, secret: true, timeout: '5m' });
    const options = { codeTo: code, since: new Date(), signal: AbortSignal.timeout(1000) };
    const other: string = await requestInput('Another', { name: 'other', pattern: '[a-z]+', ...options });
  } catch (error) {
    if (!(error instanceof HandoffTimeout)) throw error;
  }
}
"""


def venv(folder: Path, **variables: str) -> CompletedProcess[str]:
    return callboard_process(
        "venv", cwd=folder, CALLBOARD_DATA_DIR=str(folder.parent / "data"), COLUMNS="500", **variables
    )


@pytest.mark.parametrize("template", IN_TYPESCRIPT)
async def test_a_new_project_is_deployed_without_a_warning_and_can_be_tried(tmp_path: Path, template: str):
    write_skeleton(tmp_path, "fresh", template)
    environments = Environments(tmp_path / "environments", package_box())
    manifest = await deploy(tmp_path / "fresh", FolderStore(tmp_path / "store"), environments)
    assert (manifest.apis, manifest.warnings) == ((TEMPLATES[template],), ())
    assert (tmp_path / "fresh" / ".parameters" / "api" / TEMPLATES[template] / "default.json").is_file()


@pytest.mark.parametrize("template", IN_TYPESCRIPT)
def test_a_new_project_passes_its_own_test(node_modules: Path, tmp_path: Path, template: str):
    write_skeleton(tmp_path, "fresh", template)
    files = {"api/ask.ts": ASK, "api/member.js": MEMBER, "auth-sessions/create.ts": CREATE}
    write_files(tmp_path / "fresh", {**files, "tests/ask.test.ts": ANSWERS})
    shutil.copytree(node_modules, tmp_path / "fresh" / "node_modules", symlinks=True)
    scripts = json.loads((tmp_path / "fresh" / "package.json").read_text())["scripts"]
    done = subprocess.run(  # as npm executes it, with the programs of `node_modules` first
        f'PATH="$PWD/node_modules/.bin:$PATH"; {scripts["test"]}',
        shell=True,
        cwd=tmp_path / "fresh",
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pass 3" in done.stdout


@pytest.mark.parametrize("compiler", ["typescript", "newest"])
def test_types_are_there_and_wrong_use_is_told(packages: None, tmp_path: Path, compiler: str):
    command = [node_program(), FETCHED / "node" / "node_modules" / compiler / "bin" / "tsc", "--noEmit"]
    folders = [tmp_path / template for template in IN_TYPESCRIPT]
    for folder in folders:
        write_skeleton(tmp_path, folder.name, folder.name)
        for name in ("@types", "undici-types"):
            shutil.copytree(FETCHED / "node" / "node_modules" / name, folder / "node_modules" / name)
        assert venv(folder).returncode == 0
        write_files(folder, {"api/uses.ts": USES})
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200)
        assert (done.returncode, done.stdout) == (0, "")
    wrong = USES.replace("page.getByRole(", "page.getByRoles(").replace("RetryLater(60)", "RetryLater('soon')")
    write_files(folders[0], {"api/uses.ts": wrong})
    done = subprocess.run(command, cwd=folders[0], capture_output=True, text=True, timeout=200)
    told = [line.partition("): ")[2][:12] for line in done.stdout.splitlines() if line.startswith("api/uses.ts(")]
    assert told == ["error TS2551", "error TS2345"], done.stdout


def test_packages_that_somebody_else_has_installed_stay_and_are_given_ours(tmp_path: Path):
    project, modules = tmp_path / "shop", tmp_path / "shop" / "node_modules"
    real = {"luxon/index.js", "playwright/cli.js", ".pnpm/core/index.js", ".pnpm/runtime/index.js"}
    write_files(
        project, {"package.json": '{"dependencies": {"luxon": "3"}}'} | {f"node_modules/{file}": "" for file in real}
    )
    (modules / "@intuned").mkdir()
    for name, target in (("playwright-core", ".pnpm/core"), ("@intuned/runtime", ".pnpm/runtime")):
        (modules / name).symlink_to(modules / target)
    for _ in range(2):
        done = venv(project)
        assert (done.returncode, "Making" in done.stderr) == (0, False), done.stderr
        assert all((modules / name / "package.json").is_file() for name in OURS if not name.startswith("playwright"))
        for file in real:
            assert list((modules / file).parent.iterdir()) == [modules / file]
        assert (modules / "playwright-core").is_symlink()
        shutil.rmtree(modules / "@callboard")  # as npm does, which does not know it


def test_a_linked_folder_of_packages_is_refused_as_it_is_another_ones(tmp_path: Path):
    project, others = tmp_path / "shop", tmp_path / "others"
    write_files(project, {"package.json": "{}"})
    others.mkdir()
    (project / "node_modules").symlink_to(others)
    done = venv(project)
    assert (done.returncode, list(others.iterdir())) == (1, [])
    assert "node_modules is a link" in done.stderr


def test_a_lock_that_a_deploy_refuses_is_refused_here_as_well(tmp_path: Path):
    write_files(tmp_path / "shop", {"package.json": '{"dependencies": {"luxon": "3"}}', "yarn.lock": ""})
    done = venv(tmp_path / "shop")
    assert (done.returncode, (tmp_path / "shop" / "node_modules").exists()) == (1, False)
    assert "yarn.lock: packages are installed by npm, which reads package-lock.json only." in done.stderr


def test_what_is_out_of_date_is_made_anew(tmp_path: Path):
    project, modules = tmp_path / "shop", tmp_path / "shop" / "node_modules"
    own = {"helper/package.json": '{"name": "helper", "version": "1.0.0"}', "helper/index.js": "module.exports = 1;"}
    write_files(project, {"package.json": '{"devDependencies": {"helper": "file:helper"}}', **own})
    assert "as there is none yet" in venv(project).stderr
    assert (modules / "helper" / "index.js").is_file()
    assert venv(project).stderr == "", "it is up to date"
    write_files(project, {"package.json": '{"dependencies": {"@intuned/runtime": "1.3.38", "playwright": "1.61.1"}}'})
    assert "as it is out of date" in venv(project).stderr
    assert not (modules / "helper").exists()
    assert (modules / "@intuned" / "runtime" / "index.d.ts").is_file(), "ours is there, whatever version is listed"


def test_nothing_is_left_of_one_that_cannot_be_made(tmp_path: Path):
    write_files(tmp_path / "shop", {"package.json": '{"dependencies": {"there-is-no-such-package": "1"}}'})
    nowhere = {"CALLBOARD_NPM_REGISTRY": "http://127.0.0.1:1", "npm_config_fetch_retries": "0"}
    done = venv(tmp_path / "shop", **nowhere)
    assert (done.returncode, done.stdout) == (1, "")
    assert "node_modules cannot be made: " in done.stderr
    assert "ECONNREFUSED" in done.stderr
    assert not (tmp_path / "shop" / "node_modules").exists()
