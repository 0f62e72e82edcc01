"""A Machine's box: what user code finds there, what it does not, and that nothing stays in it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from callboard.machines import keeper
from callboard.machines.box import box_refusal, python_folders
from callboard.machines.isolation import Level
from callboard.machines.runner import process_tree
from callboard.machines.runner.folders import TEMPORARY, take_over
from tests.support.automations import automations
from tests.support.machines import BROWSER, NODE, ZYGOTE, Lab, Language, Run, attempt_of, find_process, open_lab, value
from tests.support.typescript import handlers

PROJECT = automations(
    reads="""
        import os
        def read(path):
            try:
                os.listdir(path) if os.path.isdir(path) else open(path, "rb").close()
            except OSError as error:
                return type(error).__name__
        return [read(path) for path in params["paths"]]
    """,
    writes="""
        def write(path):
            try:
                open(path, "wb").close()
            except OSError:
                return False
            return True
        return [write(path) for path in params["paths"]]
    """,
    signals="import os; os.kill(params['pid'], 0)",
    environment="import os; return dict(os.environ)",
    transfers="""
        from pathlib import Path
        await page.set_content(params["page"])
        async with page.expect_download() as download:
            await page.click("#download")
        await (await download.value).save_as("/tmp/saved/by-playwright.txt")
        saved = Path("/tmp/saved/by-playwright.txt").read_text()
        Path("/tmp/uploaded.txt").write_text("from a folder of my own")
        await page.set_input_files("#file", "/tmp/uploaded.txt")
        sent = await page.evaluate("document.querySelector('#file').files[0].text()")
        return [saved, sent, Path(await (await download.value).path()).read_text()]
    """,
)
TYPESCRIPT = handlers(
    reads="""
        const fs = require("fs");
        const codes = { ENOENT: "FileNotFoundError", EACCES: "PermissionError" };
        return params.paths.map((path) => {
            try { fs.statSync(path).isDirectory() ? fs.readdirSync(path) : fs.closeSync(fs.openSync(path, "r")); }
            catch (error) { return codes[error.code] ?? error.code; }
            return null;
        });
    """,
    writes="""
        const fs = require("fs");
        return params.paths.map((path) => {
            try { fs.closeSync(fs.openSync(path, "w")); } catch { return false; }
            return true;
        });
    """,
    transfers="""
        const fs = require("fs");
        await page.setContent(params.page);
        const [download] = await Promise.all([page.waitForEvent("download"), page.click("#download")]);
        await download.saveAs("/tmp/saved/by-playwright.txt");
        const saved = fs.readFileSync("/tmp/saved/by-playwright.txt", "utf8");
        fs.writeFileSync("/tmp/uploaded.txt", "from a folder of my own");
        await page.setInputFiles("#file", "/tmp/uploaded.txt");
        const sent = await page.evaluate("document.querySelector('#file').files[0].text()");
        return [saved, sent, fs.readFileSync(await download.path(), "utf8")];
    """,
    compiled="""
        const fs = require("fs"), folder = require("module").getCompileCacheDir();
        let writes = true;
        try { fs.writeFileSync(`${folder}/x`, ""); } catch { writes = false; }
        return [fs.readdirSync(folder).length > 5, writes];
    """,
)
PAGE = """
    <a id=download download=given.txt href='data:text/plain,what%20was%20downloaded'>get</a><input id=file type=file>
"""


@pytest.fixture(scope="module")
async def quiet_lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    """A lab whose Machines share no folder with the tests, but for the one named `shared`."""
    folder = tmp_path_factory.mktemp("boxed")
    (folder / "shared").mkdir()
    async with open_lab(folder, shared=(folder / "shared",)) as lab:
        yield lab


async def written(run: Run, *paths: Path | str) -> list[bool]:
    """Which of these files user code can write."""
    return value(await run("writes", {"paths": [str(path) for path in paths]}))


@pytest.mark.both_languages
async def test_user_code_has_the_system_to_read_and_its_own_folders_to_write(
    quiet: Run, quiet_lab: Lab, language: Language
) -> None:
    assert await written(quiet, "/tmp/x") == [True]
    (mine,) = quiet_lab.scratch.glob(f"{language}-*")
    there = ["/usr/bin", "/bin/sh", "/etc/passwd", "/etc/ssl/certs", "/proc/cpuinfo", "/dev/urandom"]
    closed = [str(mine / name) for name in ("tmp", "traces", "driver")] + ["/sys", __file__]
    found = value(await quiet("reads", {"paths": [*there, *closed]}))
    assert found == [None] * len(there) + ["FileNotFoundError"] * len(closed)
    own = [mine / "work/attempt/project/x", mine / "work/attempt/tmp/x", "/tmp/x", "/var/tmp/x", "/dev/shm/x"]
    assert await written(quiet, *own) == [True] * len(own)
    assert await written(quiet, "/x", "/dev/x", mine / "downloads/x", mine / "work/x") == [False] * 4


@pytest.mark.typescript
async def test_what_v8_has_compiled_is_there_to_read(quiet: Run) -> None:
    assert value(await quiet("compiled")) == [True, False]


async def test_a_shared_folder_is_the_hosts(quiet: Run, quiet_lab: Lab) -> None:
    shared = quiet_lab.scratch.parent / "shared"
    assert await written(quiet, shared / "from-user-code") == [True]
    assert (shared / "from-user-code").exists()


async def test_a_filter_of_system_calls_stands_around_all_that_is_in_a_box(lab: Lab) -> None:
    machine = await lab.machine(lab.version(PROJECT))
    outside = filters(machine.keeper_pid)
    boxed = {command: filters(find_process(machine.keeper_pid, command)) for command in (NODE, BROWSER, ZYGOTE)}
    assert [command for command, count in boxed.items() if count <= outside] == []


def filters(pid: int) -> int:
    """How many filters of system calls a process has."""
    (count,) = re.findall(rb"^Seccomp_filters:\s*(\d+)$", process_tree.read(f"/proc/{pid}/status"), re.MULTILINE)
    return int(count)


@pytest.mark.both_languages
async def test_files_go_to_and_from_its_own_temporary_folder(quiet: Run) -> None:
    told = value(await quiet("transfers", {"page": PAGE}))
    assert told == ["what was downloaded", "from a folder of my own", "what was downloaded"]


async def test_the_projects_variables_are_user_codes_alone(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBOARD_USER_OF_USER_CODE", "a-word-for-user-code")
    machine = await lab.machine(lab.version(PROJECT))
    assert value(await machine.run_attempt(attempt_of("environment")))["OF_USER_CODE"]
    knowing = [
        process_tree.read(f"/proc/{pid}/cmdline")
        for pid in (machine.keeper_pid, *keeper.descendants(machine.keeper_pid))
        if b"a-word-for-user-code" in process_tree.read(f"/proc/{pid}/environ")
    ]
    assert knowing, "the zygote has them"
    assert [command for command in knowing if b"\0zygote\0" not in command] == []


async def test_a_machine_works_in_a_folder_whose_path_is_too_long_for_sockets(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 40)
    folder.mkdir()
    async with open_lab(folder) as lab:
        machine = await lab.machine(lab.version(PROJECT))
        assert value(await machine.run_attempt(attempt_of("environment")))
        # A headless browser makes no socket there; a full one does, and would not start.
        browser = find_process(machine.keeper_pid, BROWSER)
        assert b"TMPDIR=/tmp" in process_tree.read(f"/proc/{browser}/environ").split(b"\0")
        assert Path(f"/proc/{browser}/root/tmp").samefile(lab.scratch / machine.name / TEMPORARY)


async def test_at_the_level_none_no_wall_stands(lab: Lab, tmp_path: Path) -> None:
    pool = lab.pool(launch=replace(lab.launch, isolation=Level.NONE))
    run = lab.runner(PROJECT, pool)
    assert await written(run, tmp_path / "beside") == [True]
    assert (tmp_path / "beside").exists()
    machine = await lab.settled(pool)
    assert machine is not None
    assert (await run("signals", {"pid": machine.keeper_pid})).error is None


def test_it_is_said_why_there_can_be_no_box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box_refusal.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    try:
        assert box_refusal() == "bubblewrap is not installed (`callboard setup` installs it)"
        program = tmp_path / "bwrap"
        program.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1\n")
        program.chmod(0o755)
        box_refusal.cache_clear()
        assert (box_refusal() or "").endswith("bwrap: No permissions to create new namespace")
    finally:
        box_refusal.cache_clear()


def test_an_interpreter_is_followed_to_where_its_library_is(tmp_path: Path) -> None:
    base, named, environment = (tmp_path / name for name in ("base-3.13.1", "base-3.13", "environment"))
    (base / "bin").mkdir(parents=True)
    (base / "bin/python").touch()
    named.symlink_to(base)
    (environment / "bin").mkdir(parents=True)
    (environment / "bin/python").symlink_to(named / "bin/python")
    assert set(python_folders(environment / "bin/python")) == {environment, named, base}


def test_only_a_plain_file_is_taken_over(tmp_path: Path) -> None:
    secret, link, twin, plain = (tmp_path / name for name in ("secret", "link", "twin", "plain"))
    secret.write_text("secret")
    link.symlink_to(secret)
    twin.hardlink_to(secret)
    plain.write_text("plain")
    for made in (link, twin, tmp_path):
        with pytest.raises(OSError, match="not a plain file"):
            take_over(made, tmp_path / "taken")
    take_over(plain, tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "plain"
