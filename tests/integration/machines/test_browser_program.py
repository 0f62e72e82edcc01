from __future__ import annotations

import json
from pathlib import Path

import playwright
import psutil
import pytest
from playwright.async_api import async_playwright

from callboard.machines.browser_program import browser_args, find_browser
from callboard.schemas.errors import MachineError
from callboard.settings import Settings
from tests.support.processes import command_line
from tests.support.programs import make_program


def playwrights_own(browsers: Path, name: str = "chromium-headless-shell") -> Path:
    package = Path(playwright.__file__).parent / "driver" / "package"
    listed = json.loads((package / "browsers.json").read_text())["browsers"]
    revision = next(browser["revision"] for browser in listed if browser["name"] == name)
    executable = "chrome" if name == "chromium" else "chrome-headless-shell"
    return browsers / f"{name.replace('-', '_')}-{revision}" / "linux" / executable


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH, on a machine without any browser."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "browsers"))
    monkeypatch.setattr("callboard.machines.browser_program._ALSO_LOOKED_IN", "")
    return programs


def test_only_the_configured_browser_is_looked_at(tmp_path: Path) -> None:
    mine = make_program(tmp_path / "mine")
    assert find_browser(mine) == mine
    with pytest.raises(MachineError, match=r"CALLBOARD_CHROMIUM names .*nowhere.*No such file"):
        find_browser(tmp_path / "nowhere")


def test_playwrights_own_headless_shell_goes_before_the_systems(bare: Path, tmp_path: Path) -> None:
    systems = make_program(bare / "chromium-headless-shell")
    assert find_browser(None) == systems
    own = make_program(playwrights_own(tmp_path / "browsers"))
    assert find_browser(None) == systems, "not yet complete: the mark of a finished download is missing"
    (own.parents[1] / "INSTALLATION_COMPLETE").touch()
    assert find_browser(None) == own


def test_a_full_browser_is_taken_if_there_is_no_headless_shell(bare: Path) -> None:
    full = make_program(bare / "google-chrome")
    assert find_browser(None) == full
    shell = make_program(bare / "chromium-headless-shell")
    assert find_browser(None) == shell


def test_a_headful_project_gets_a_full_browser(bare: Path, tmp_path: Path) -> None:
    make_program(bare / "chromium-headless-shell")
    with pytest.raises(MachineError, match="playwright install --with-deps chromium`"):
        find_browser(None, headful=True)
    full = make_program(playwrights_own(tmp_path / "browsers", "chromium"))
    (full.parents[1] / "INSTALLATION_COMPLETE").touch()
    assert find_browser(None, headful=True) == full


BROKEN = "echo 'error while loading shared libraries: libnss3.so' >&2; exit 127"


def test_one_that_does_not_start_is_passed_over(bare: Path) -> None:
    make_program(bare / "chromium-headless-shell", BROKEN)
    full = make_program(bare / "chromium")
    assert find_browser(None) == full


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (BROKEN, r"chromium-headless-shell does not start .*libnss3\.so"),
        (None, r"none on this machine\. Install one with `callboard setup`"),
    ],
)
def test_when_there_is_none_that_starts_the_reason_is_told(bare: Path, script: str | None, says: str) -> None:
    if script is not None:
        make_program(bare / "chromium-headless-shell", script)
    with pytest.raises(MachineError, match=says):
        find_browser(None)


async def test_the_installed_browser_runs_without_background_traffic() -> None:
    path = find_browser(Settings().chromium)
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=path, args=browser_args())
        try:
            page = await browser.new_page()
            assert await page.evaluate("1 + 1") == 2
            lines = [
                line
                for process in psutil.Process().children(recursive=True)
                if "--remote-debugging-pipe" in (line := command_line(process))
                and not any(argument.startswith("--type=") for argument in line)  # one of the browser's helpers
            ]
        finally:
            await browser.close()
    quiet = {"--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"}
    assert lines
    for line in lines:
        assert quiet | set(browser_args()) <= set(line)
