"""`callboard run`: a project's own code, called here, in its environment."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import stat
import time
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import psutil
import pytest
from playwright.async_api import async_playwright

from callboard.machines.browser_program import find_browser
from callboard.projects.files import list_project_files
from callboard.projects.variables import Variables
from callboard.schemas.rest.env_vars import SetVariable, VariableScope
from callboard.settings import Settings
from callboard.storage.folder import FolderStore
from tests.support.dev_terminal import Terminal, on_terminal, processes_on
from tests.support.files import write_files
from tests.support.local_projects import PYTHON, TYPESCRIPT, LocalKind
from tests.support.processes import CALLBOARD, callboard_process, surroundings

DIE = """
import asyncio, os, signal, termios
from callboard_runtime import request_input

async def automation(page, params=None, **_):
    asking = asyncio.create_task(request_input("The code", secret=True))
    while termios.tcgetattr(0)[3] & termios.ECHO:
        await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
"""
AUTHORING = [VariableScope.AUTHORING]
HOOK = """
from playwright.async_api import async_playwright

async def setup_context(*, api_name, api_parameters, cdp_url):
    playwright = await async_playwright().start()
    context = await (await playwright.chromium.connect_over_cdp(cdp_url)).new_context(user_agent=api_name)

    async def cleanup():
        print("cleaned up")
        await playwright.stop()

    return context, await context.new_page(), cleanup
"""


TYPESCRIPT_HOOK = """
import { attemptStore } from '@intuned/runtime';
import { chromium } from 'playwright';

export default async function setupContext({ cdpUrl, apiName, apiParameters }: any) {
  const browser = await chromium.connectOverCDP(cdpUrl);
  attemptStore.set('hook', [apiName, apiParameters, browser.version()]);
  await browser.close();
}
"""
AFTER_HOOK = """
import { attemptStore } from '@intuned/runtime';

export default async function handler(params: unknown, page: any, context: any) {
  return [...attemptStore.get('hook'), context.browser().version()];
}
"""


@dataclass(frozen=True)
class Project:
    """A project folder whose author types commands in it."""

    kind: LocalKind
    folder: Path
    temporary: Path
    """Where temporary folders are made."""
    environment: dict[str, str]

    def run(self, *arguments: str | Path, **variables: str) -> CompletedProcess[str]:
        """`callboard run …`, which leaves nothing behind."""
        done = callboard_process("run", *arguments, cwd=self.folder, **self.environment, **variables)
        self.has_left_nothing()
        return done

    def has_left_nothing(self) -> None:
        assert not list(self.temporary.iterdir())
        psutil.wait_procs(processes_on(self.temporary), timeout=30)
        assert processes_on(self.temporary) == []

    @contextmanager
    def on_terminal(self, *arguments: str) -> Generator[Terminal]:
        """The same on a terminal."""
        env = surroundings(**self.environment)
        with on_terminal(CALLBOARD, "run", *arguments, cwd=self.folder, env=env) as terminal:
            yield terminal
        self.has_left_nothing()


def make_project(kind: LocalKind, environment: Path, tmp_path: Path) -> Project:
    folder, temporary = tmp_path / "shop", tmp_path / "temporary"
    write_files(folder, kind.files)
    if kind is TYPESCRIPT:  # a link would be refused
        shutil.copytree(environment, folder / kind.environment, symlinks=True)
    else:
        (folder / kind.environment).symlink_to(environment)
    temporary.mkdir()
    variables = {"TMPDIR": str(temporary), "CALLBOARD_DATA_DIR": str(tmp_path / "data"), "COLUMNS": "500"}
    return Project(kind, folder, temporary, variables)


@pytest.fixture(params=[PYTHON, TYPESCRIPT], ids=lambda kind: kind.name)
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    kind: LocalKind = request.param
    environment: Path = request.getfixturevalue("venv" if kind is PYTHON else "node_modules")
    return make_project(kind, environment, tmp_path)


@pytest.fixture
def in_python(venv: Path, tmp_path: Path) -> Project:
    return make_project(PYTHON, venv, tmp_path)


@pytest.fixture
def in_typescript(node_modules: Path, tmp_path: Path) -> Project:
    return make_project(TYPESCRIPT, node_modules, tmp_path)


def test_the_result_is_on_stdout_and_the_log_on_stderr(project: Project):
    (project.folder / "given.json").write_text('{"q": "é"}')
    done = project.run("api", "echo", "@given.json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"given": {"q": "é"}, "title": "Echo"})
    lines = done.stderr.splitlines()
    assert {"printed", "INFO shop: logged"} <= set(lines)
    assert any("of the page" in line for line in lines)


def test_a_question_is_asked_on_the_terminal_until_the_answer_is_one(project: Project):
    with project.on_terminal("api", "ask", '{"timeout": "1h"}', "--timeout", "5s") as terminal:
        terminal.read_until("The code of the text message\ncode: ")
        terminal.type("12\n")
        again = terminal.read_until("Expected a text that matches [0-9]{6}\ncode: ")
        assert "12" not in again, "a secret is not shown as it is typed"
        time.sleep(6)  # longer than the call may take: its clock stands still
        terminal.type("493027\n")
        assert terminal.read_to_the_end() == 0
        assert terminal.text.endswith('"493027"\n')
        assert terminal.echoes
    with project.on_terminal("api", "ask", '{"timeout": "1h"}') as terminal:
        terminal.read_until("code: ")
        terminal.type("\x04")
        terminal.read_to_the_end()
        assert terminal.text.endswith('"HandoffDeclined"\n')
    assert json.loads(project.run("api", "ask", '{"timeout": 1}').stdout) in ("HandoffTimeout", "HandoffDeclined")


def test_a_create_yields_what_it_asks_on_the_terminal(project: Project):
    with project.on_terminal("authsession", "create", "ada", "--input", '{"user": "ada"}') as terminal:
        terminal.read_until("The password\ncode: ")
        terminal.type("right\n")
        assert terminal.read_to_the_end() == 0
    assert project.run("authsession", "check", "ada").returncode == 0


def test_a_terminal_shows_what_is_typed_though_the_code_died_as_it_asked_for_a_secret(in_python: Project):
    write_files(in_python.folder, {"api/die.py": DIE})
    with in_python.on_terminal("api", "die") as terminal:
        assert terminal.read_to_the_end() != 0
        assert "code: " in terminal.text
        assert terminal.echoes


def test_json_has_what_is_left_beside_the_result(project: Project):
    done = project.run("api", "echo", "--json")
    assert json.loads(done.stdout) == {
        "status": "completed",
        "result": {"given": project.kind.nothing_given, "title": "Echo"},
        "attributes": {"pages": 1},
        "extendedPayloads": [{"api": "more", "parameters": {"page": 2}}],
    }


def test_a_result_and_a_trace_go_into_the_files_that_are_named(project: Project):
    done = project.run("api", "echo", "-o", "result.json", "--trace", "output/trace.zip")
    assert (done.returncode, done.stdout) == (0, "")
    assert json.loads((project.folder / "result.json").read_text())["title"] == "Echo"
    with zipfile.ZipFile(project.folder / "output" / "trace.zip") as trace:
        assert "trace.trace" in trace.namelist()


def test_parameters_are_checked_by_the_annotation_before_the_call(in_python: Project):
    typed = "async def automation(page, params: dict[str, {}] = None):\n    return params\n"
    write_files(in_python.folder, {"api/typed.py": typed.format("int"), "api/odd.py": typed.format("bytes")})
    refused = in_python.run("api", "typed", '{"a": 1, "b": "2"}')
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.splitlines() == ["PARAMETERS are not what api/typed.py says.", "  b: expected an integer."]
    assert json.loads(in_python.run("api", "typed", '{"a": 1}').stdout) == {"a": 1}
    unread = in_python.run("api", "odd", '{"a": 1}')
    assert json.loads(unread.stdout) == {"a": 1}
    assert "The parameters are not checked: params.*: bytes is not supported." in unread.stderr


def test_an_error_is_short_and_says_its_place(project: Project):
    done = project.run("api", "shop/fail", "{}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == project.kind.fails
    told = json.loads(project.run("api", "shop/fail", "{}", "--json").stdout)
    assert (told["status"], told["error"]["name"], told["error"]["message"]) == (
        "failed",
        project.kind.fails.partition(":")[0],
        project.kind.fails,
    )


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["api", "nothing"], 4, "There is no API nothing in "),
        (["api", "echo", "{"], 2, "PARAMETERS is not JSON"),
        (["api", "echo", "--headful"], 2, "There is no display to open a window on"),
        (["api", "echo", "--cdp-url", "http://127.0.0.1:1"], 1, "The browser cannot be used: "),
        (["api", "echo", "--proxy", "ftp://x"], 2, "--proxy"),
        (["api", "echo", "--inspect"], 2, "this project is not in the language that this is for"),
        (["api", "visit", "--auth-session", "ada"], 4, "There is no login ada here. Make it with: "),
        (["authsession", "create", "ada", "--input", "{}", "--cdp-url", "http://127.0.0.1:1"], 2, "--cdp-url: "),
        (["authsession", "check", "../up"], 2, "'../up' cannot be the id of an AuthSession."),
        (["authsession", "create", "me", "--input", "{}"], 2, "'me' cannot be the id of an AuthSession."),
    ],
)
def test_what_cannot_be_done_is_a_sentence(in_python: Project, arguments: list[str], code: int, said: str):
    done = in_python.run(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_time_limit_ends_code_that_waits(project: Project):
    done = project.run("api", "wait", "--timeout", "5s", "--json")
    said = f"It took longer than 5 seconds. ({project.kind.waits})"
    assert (done.returncode, json.loads(done.stdout)["error"]["message"]) == (1, said)


def test_a_time_limit_ends_code_that_blocks(project: Project):
    done = project.run("api", "block", "--timeout", "5s", "--json")
    said = f"It took longer than 5 seconds, and had to be ended, as it did not react. ({project.kind.blocks})"
    assert (done.returncode, json.loads(done.stdout)["error"]["message"]) == (1, said)
    assert "most recent call first" not in done.stderr


def test_a_time_limit_ends_c_code_that_lets_no_other_thread_go_on(in_python: Project):
    source = 'import re\n\nasync def automation(page, **_):\n    return bool(re.match("(a+)+$", "a" * 60 + "b"))\n'
    write_files(in_python.folder, {"api/match.py": source})
    done = in_python.run("api", "match", "--timeout", "5s", "--json")
    said = "It took longer than 5 seconds, and had to be ended, as it did not react. (api/match.py:4)"
    assert (done.returncode, json.loads(done.stdout)["error"]["message"]) == (1, said)


def test_variables_of_the_project_are_seen_and_those_of_callboard_are_not(project: Project):
    (project.folder / ".env").write_text("A=file\nB=file\n")
    given = {"CALLBOARD_USER_B": "user", "CALLBOARD_USER_C": "user", "CALLBOARD_API_KEY": "x" * 20, "PLAIN": "host"}
    names = ["A", "B", "C", "PLAIN", "CALLBOARD_API_KEY", "CALLBOARD_USER_C"]
    done = project.run("api", "variables", json.dumps(names), **given)
    assert json.loads(done.stdout) == dict(zip(names, ["file", "file", "user", "host", None, None], strict=True))


async def store_variables(data: Path, project: str | None, **values: str) -> None:
    """As `callboard dev` keeps what is set over REST."""
    data.mkdir(exist_ok=True)
    (data / "secret-key").write_text("a-key-of-a-data-folder\n")
    variables = Variables.with_keys(
        Settings().workspace, FolderStore(data / "artifacts"), [(data / "secret-key").read_text().strip()]
    )
    for name, value in values.items():
        await variables.set(project, name, SetVariable(value=value, secret=True, scopes=AUTHORING), by="me")


async def test_variables_of_the_dev_stack_are_seen_below_those_of_the_env_file(project: Project, tmp_path: Path):
    data = tmp_path / "dev-data"
    await store_variables(data, None, A="workspace", B="workspace", C="workspace")
    await store_variables(data, project.folder.name, B="project", C="project")
    (project.folder / ".env").write_text("C=file\n")
    done = await asyncio.to_thread(project.run, "api", "variables", '["A", "B", "C"]', "--data", data)
    assert json.loads(done.stdout) == {"A": "workspace", "B": "project", "C": "file"}, done.stderr
    done = await asyncio.to_thread(project.run, "api", "variables", '["A"]', "--data", tmp_path / "nowhere")
    assert json.loads(done.stdout) == {"A": None}, done.stderr


def test_a_login_refers_to_secrets_and_keeps_the_reference(project: Project):
    given = json.dumps({"user": "ada", "password": {"$secret": "SHOP_PASSWORD"}})
    done = project.run("authsession", "create", "ada", "--input", given)
    assert (done.returncode, "The secret SHOP_PASSWORD is not there" in done.stderr) == (2, True), done.stderr
    (project.folder / ".env").write_text("SHOP_PASSWORD=right\n")
    assert project.run("authsession", "create", "ada", "--input", given).returncode == 0
    kept = project.folder / "auth-sessions-instances" / "ada" / "metadata.json"
    assert json.loads(kept.read_text())["parameters"] == json.loads(given)
    assert project.run("authsession", "check", "ada").returncode == 0


def test_a_breakpoint_stops_in_the_terminal(in_python: Project):
    source = "async def automation(page, **_):\n    answer = 6 * 7\n    breakpoint()\n    return answer\n"
    write_files(in_python.folder, {"api/stop.py": source})
    with in_python.on_terminal("api", "stop") as terminal:
        terminal.read_until("(Pdb) ")
        seen = len(terminal.text)
        terminal.type("p answer + 1\n")
        assert "43" in terminal.read_until("(Pdb) ", seen)
        terminal.type("c\n")
        assert terminal.read_to_the_end() == 0
    assert terminal.text.endswith("42\n")


@pytest.mark.parametrize("api", ["wait", "block"])
def test_ctrl_c_closes_everything(project: Project, api: str):
    with project.on_terminal("api", api) as terminal:
        terminal.read_until(f"it {api}s")
        terminal.press_ctrl_c()
        assert terminal.read_to_the_end() == 130
    assert "Traceback" not in terminal.text


def test_sigterm_closes_everything(project: Project):
    with project.on_terminal("api", "wait") as terminal:
        terminal.read_until("it waits")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.read_to_the_end() == 130


async def test_a_running_browser_is_used_and_goes_on(project: Project, tmp_path: Path):
    async with async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(
            tmp_path / "profile", executable_path=find_browser(None), args=["--remote-debugging-port=0"]
        )
        await context.add_cookies([{"name": "visits", "value": "7", "url": "https://site.example"}])
        port = (tmp_path / "profile" / "DevToolsActivePort").read_text().split()[0]
        before = context.pages
        done = project.run("api", "visit", "--cdp-url", f"http://127.0.0.1:{port}")
        assert json.loads(done.stdout) == {"visits": "7"}, done.stderr
        assert context.pages == before
        assert await before[0].evaluate("1 + 1") == 2
        await context.close()


@pytest.mark.parametrize("api", ["echo", "shop/fail"])
def test_a_hook_brings_its_context_and_cleans_up(in_python: Project, api: str):
    (in_python.folder / "hooks").mkdir()
    (in_python.folder / "hooks" / "setup_context.py").write_text(HOOK)
    (in_python.folder / "api" / "echo.py").write_text(
        "async def automation(page, params=None, **_):\n    return await page.evaluate('navigator.userAgent')\n"
    )
    done = in_python.run("api", api, "{}")
    assert "cleaned up" in done.stderr.splitlines()
    assert (done.returncode, done.stdout) in [(0, '"api/echo"\n'), (1, "")]


def test_what_is_left_without_a_json_form_is_told(in_typescript: Project):
    leaves = "globalThis[Symbol.for('callboard.runtime')].attributes.price = 3n;"
    write_files(in_typescript.folder, {"api/leaves.ts": f"export default async () => {{ {leaves} }};"})
    done = in_typescript.run("api", "leaves")
    assert (done.returncode, done.stdout) == (1, "")
    assert "TypeError: Do not know how to serialize a BigInt" in done.stderr


def test_a_hook_in_typescript_reaches_the_browser_of_the_call(in_typescript: Project):
    files = {"hooks/setupContext.ts": TYPESCRIPT_HOOK, "api/echo.ts": AFTER_HOOK}
    write_files(in_typescript.folder, files)
    done = in_typescript.run("api", "echo", '{"a": 1}')
    name, given, version, of_page = json.loads(done.stdout)
    assert (name, given, version) == ("api/echo", {"a": 1}, of_page), done.stderr


def make_login(project: Project, user: str = "ada", password: str = "right") -> CompletedProcess[str]:
    given = json.dumps({"user": user, "password": password})
    return project.run("authsession", "create", "ada", "--input", given)


def test_a_login_is_its_owner_s_alone_and_in_no_version(project: Project):
    done = make_login(project)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    kept = project.folder / "auth-sessions-instances" / "ada"
    assert {file.name: stat.S_IMODE(file.stat().st_mode) for file in kept.iterdir()} == {
        "auth-session.json": 0o600,
        "metadata.json": 0o600,
    }
    assert project.run("authsession", "check", "ada").returncode == 0
    assert not [file.path for file in list_project_files(project.folder) if "auth-sessions-instances" in file.path]


def test_a_login_that_is_not_good_is_told_and_nothing_begins_with_it(project: Project):
    make_login(project, user="gone")
    checked = project.run("authsession", "check", "ada")
    assert (checked.returncode, "The login ada is not good." in checked.stderr) == (1, True)
    done = project.run("api", "visit", "--auth-session", "ada")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("The login is not good any more.")


def test_where_every_run_needs_a_login_a_call_needs_one_too(project: Project):
    settings = '{"projectName": "shop", "authSessions": {"enabled": true, "type": "API"}}'
    (project.folder / "Intuned.jsonc").write_text(settings)
    refused = project.run("api", "visit")
    assert (refused.returncode, refused.stdout) == (2, "")
    said = "Auth session is required for auth session validation runs: project shop logs in, so the call needs"
    assert said in refused.stderr
    make_login(project)
    assert project.run("api", "visit", "--auth-session", "ada").returncode == 0


def test_a_login_that_cannot_be_made_leaves_the_earlier_one(project: Project):
    make_login(project)
    done = make_login(project, password="wrong")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == project.kind.refused
    assert project.run("authsession", "create", "ada").returncode == 0, "it is made from what it was made from before"


@pytest.mark.parametrize(("setting", "visits"), [("{}", "1"), ('{"authSessions": {"saveBack": false}}', None)])
def test_what_a_site_changes_of_a_login_is_kept(project: Project, setting: str, visits: str | None):
    (project.folder / "Intuned.jsonc").write_text(setting)
    make_login(project)
    told = [project.run("api", "visit", "--auth-session", "ada").stdout for _ in range(2)]
    assert [json.loads(text) for text in told] == [
        {"user": "ada"},
        {"user": "ada", **({"visits": visits} if visits else {})},
    ]
    assert json.loads((project.folder / "auth-sessions-instances" / "ada" / "metadata.json").read_text())["parameters"]
