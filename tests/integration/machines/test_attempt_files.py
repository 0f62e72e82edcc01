"""Files that an Attempt has left are taken out of its Machine, however it ends, and whatever becomes of the Machine."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from textwrap import dedent

import pytest

from callboard.machines import keeper
from callboard.machines.attempt_log_file import AttemptLogFile
from callboard.machines.attempt_spec import EvidenceSpec
from callboard.machines.left_files import FileLimits, LeftFiles, copy_left_file, find_left_files
from callboard.machines.machine_attempt import MachineAttempt
from callboard.machines.runner.folders import DOWNLOADS, FILES, KEPT
from tests.support.automations import automations, connecting_hook
from tests.support.machines import PATIENCE, Lab, attempt_of, value
from tests.support.polling import until
from tests.support.present import present
from tests.support.typescript import handlers

_FILES = {
    **automations(
        ends="return await leave(page, params)",
        leaves_early="""
            await page.set_content(f"<a href='{params['url']}'>Download</a>")
            async with page.expect_download():
                await page.get_by_role("link").click(no_wait_after=True)
            return "early"
        """,
        fails='await leave(page, params); raise ValueError("late")',
        spins="""
            await leave(page, params)
            while True:
                pass
        """,
        exits="await leave(page, params); import os; os._exit(3)",
        closes_and_stays="""
            import asyncio
            context = await page.context.browser.new_context()
            await leave(await context.new_page(), params)
            await context.close()
            await asyncio.sleep(3600)
        """,
        closes="""
            context = await page.context.browser.new_context()
            other = await context.new_page()
            await leave(other, params)
            await context.close()
        """,
    ),
    "leaving.py": """
        from pathlib import Path

        async def leave(page, params):
            Path("output/a").mkdir(parents=True)
            Path("output/a/report.txt").write_text("a report")
            await page.route("http://shop.test/", lambda route: route.fulfill(
                headers={"content-disposition": "attachment; filename=prices.csv"}, body="a,b"
            ))
            await page.set_content("<a href='http://shop.test/'>Download</a>")
            for _ in range(2):
                async with page.expect_download():
                    await page.get_by_role("link").click()
            Path("done").touch()
    """,
}
PROJECT = {
    path: f"from leaving import leave\n{source}" if path.startswith("api/") else source
    for path, source in _FILES.items()
}
_LEAVES = """
    const fs = require("fs");
    async function leave(page) {
        fs.mkdirSync("output/a", { recursive: true });
        fs.writeFileSync("output/a/report.txt", "a report");
        const headers = { "content-disposition": "attachment; filename=prices.csv" };
        await page.route("http://shop.test/", (route) => route.fulfill({ headers, body: "a,b" }));
        await page.setContent("<a href='http://shop.test/'>Download</a>");
        for (let n = 0; n < 2; n++) {
            await Promise.all([page.waitForEvent("download"), page.getByRole("link").click()]);
        }
        fs.writeFileSync("done", "");
    }
"""
TYPESCRIPT = {
    path: f"{dedent(_LEAVES)}{source}"
    for path, source in handlers(
        ends="return await leave(page)",
        fails="await leave(page); throw new Error('late')",
        exits="await leave(page); process.reallyExit(3)",
        spins="await leave(page); while (true) {}",
        closes="""
            const other = await context.browser().newContext();
            await leave(await other.newPage());
            await other.close();
        """,
    ).items()
}
LEFT = {"downloads/prices.csv": "a,b", "downloads/prices-2.csv": "a,b", "a/report.txt": "a report"}


class Machines:
    """Attempts on one Machine at a time, each with a folder of its own for what it leaves."""

    def __init__(self, lab: Lab, folder: Path, project: dict[str, str] = PROJECT) -> None:
        self.lab = lab
        self.version = lab.version(project, project="typescript" if project is TYPESCRIPT else "lab")
        self.pool = lab.pool(project=self.version.project)
        self._folder = folder

    def attempt(
        self, api: str, parameters: object = None, *, downloads: bool = True, timeout: float = PATIENCE
    ) -> MachineAttempt:
        folder = self._folder / f"evidence-{len(list(self._folder.iterdir()))}"
        folder.mkdir()
        log = AttemptLogFile(folder / "log.jsonl", 100_000)
        return attempt_of(api, parameters, log=log, evidence=EvidenceSpec(folder, downloads=downloads), timeout=timeout)

    def found(self, attempt: MachineAttempt) -> tuple[Path, LeftFiles]:
        folder = present(attempt.spec.evidence).folder / FILES
        return folder, find_left_files(folder, FileLimits())

    def left(self, attempt: MachineAttempt) -> dict[str, str]:
        folder, found = self.found(attempt)
        texts: dict[str, str] = {}
        for file in found.files:
            copy = folder / "copy"
            copy_left_file(folder, file, copy, 1000)
            texts[file.name] = copy.read_text()
            copy.unlink()
        assert found.missing is None
        return texts


@pytest.fixture(scope="module")
def machines(shared_lab: Lab, tmp_path_factory: pytest.TempPathFactory, project: dict[str, str]) -> Machines:
    return Machines(shared_lab, tmp_path_factory.mktemp("evidence"), project)


@pytest.mark.both_languages
@pytest.mark.parametrize("api", ["ends", "fails", "exits", "closes", "spins"])
async def test_what_it_writes_and_downloads_is_left_however_it_ends(machines: Machines, api: str) -> None:
    attempt = machines.attempt(api, timeout=8 if api == "spins" else PATIENCE)
    await machines.pool.run_attempt(machines.version, attempt)
    assert machines.left(attempt) == LEFT
    assert present(attempt.evidence).missing == {}
    again = machines.attempt("ends")
    await machines.pool.run_attempt(machines.version, again)
    assert machines.left(again) == LEFT, "and nothing of the one before"


async def test_a_cancel_leaves_it_and_so_does_the_end_of_the_machine(machines: Machines) -> None:
    for ends in ("cancel", "kill"):
        attempt = machines.attempt("spins")
        running = asyncio.create_task(machines.pool.run_attempt(machines.version, attempt))
        await until(lambda attempt=attempt: attempt.start and Path(attempt.start.project_root, "done").exists())
        if ends == "cancel":
            running.cancel()
        else:
            machine = present(machines.pool.slots[0].machine)
            [supervisor, *_] = keeper.descendants(machine.keeper_pid)
            os.kill(supervisor, signal.SIGKILL)
        await asyncio.wait({running})
        found = machines.left(attempt)
        assert found == LEFT if ends == "cancel" else found.items() >= {"a/report.txt": "a report"}.items()


async def test_downloads_are_lost_and_named_if_they_are_not_wanted(machines: Machines) -> None:
    attempt = machines.attempt("ends", downloads=False)
    await machines.pool.run_attempt(machines.version, attempt)
    assert machines.left(attempt) == {"a/report.txt": "a report"}
    named = "Not kept: done (0 bytes), prices.csv (a download, 3 bytes), prices.csv (a download, 3 bytes). "
    assert named.encode() in present(attempt.log).read_masked()


async def test_a_download_that_does_not_end_is_named_and_costs_no_result(machines: Machines) -> None:
    async def never_ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = "content-type: application/zip\r\ncontent-disposition: attachment; filename=slow.zip\r\n"
        writer.write(f"HTTP/1.1 200 OK\r\n{head}content-length: 9999\r\n\r\n{'x' * 5000}".encode())
        await writer.drain()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(never_ends, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        attempt = machines.attempt("leaves_early", {"url": url})
        assert value(await machines.pool.run_attempt(machines.version, attempt)) == "early"
    sentence = "slow.zip (a download that had not ended)."
    assert present(attempt.evidence).missing == {FILES: sentence}
    assert f"Files are not kept: {sentence}".encode() in present(attempt.log).read_masked()


async def test_downloads_of_a_closed_context_lie_where_they_count_as_disk(machines: Machines) -> None:
    attempt = machines.attempt("closes_and_stays")
    running = asyncio.create_task(machines.pool.run_attempt(machines.version, attempt))
    await until(lambda: attempt.start and Path(attempt.start.project_root, "done").exists())
    scratch = Path(present(attempt.start).project_root).parents[2]
    await until(lambda: not [*(scratch / DOWNLOADS).iterdir()])
    kept = [file.read_text() for file in (scratch / KEPT).iterdir()]
    running.cancel()
    await asyncio.wait({running})
    assert kept == ["a,b", "a,b"]
    assert machines.left(attempt) == LEFT


async def test_an_output_that_is_no_folder_is_named(lab: Lab, tmp_path: Path) -> None:
    links = automations(links='import os; os.symlink("/etc", "output")')
    machines = Machines(lab, tmp_path)
    attempt = machines.attempt("links")
    await machines.pool.run_attempt(lab.version(links, project="links"), attempt)
    assert machines.left(attempt) == {}
    assert present(attempt.evidence).missing == {FILES: "output is no folder, so nothing of it is kept."}


async def test_what_pages_of_a_hooks_own_context_download_is_left(lab: Lab, tmp_path: Path) -> None:
    hook = connecting_hook("""
        context = await browser.new_context()
        return context, await context.new_page(), cleanup
    """)
    machines = Machines(lab, tmp_path)
    attempt = machines.attempt("ends")
    value(await machines.pool.run_attempt(lab.version({**PROJECT, **hook}, project="hooked"), attempt))
    assert machines.left(attempt) == LEFT
