"""`callboard setup` installs what is missing, by the host's own means; here, by programs that only write files."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from callboard.cli.setup import setup
from callboard.projects.node.tools import LISTED, install_tools, require_tools, tools_folder
from callboard.schemas.errors import BadRequest, ConfigurationError, MachineError, ProjectError
from callboard.storage.file_lock import wait_for_lock

APT_GET = """
echo "apt-get $*" >> "$HOST/log"
[ "$1" = install ] || exit 0
for package; do
    case $package in
    bubblewrap) program=bwrap ;;
    passt) program=pasta ;;
    iproute2) program=ip ;;
    chromium-headless-shell) program=$package ;;
    *) continue ;;
    esac
    printf '#!/bin/sh\\necho Chromium 1.2.3\\n' > "$HOST/$program"
    chmod +x "$HOST/$program"
done
"""
UNREACHABLE = """
echo "playwright $*" >> "$HOST/log"
echo "no way to the download" >&2
exit 1
"""
BROWSER_OF_APT = ["playwright install chromium-headless-shell", "apt-get update -qq"]
OPTIONS = "-y -qq --no-install-recommends"


class Host:
    """A folder that is all of PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, program: str, script: str = "echo Chromium 1.2.3") -> None:
        (self.folder / program).write_text(f"#!/bin/sh\n{script}\n")
        (self.folder / program).chmod(0o755)

    @property
    def executed(self) -> list[str]:
        log = self.folder / "log"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host that has a package manager, and nothing of what Callboard needs."""
    host = Host(tmp_path)
    host.has("apt-get", f"export PATH=/usr/bin:/bin\n{APT_GET}")
    host.has("env", 'exec /usr/bin/env "$@"')
    host.has("sudo", 'echo sudo >> "$HOST/log"\nexec "$@"')
    host.has("playwright", UNREACHABLE)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOST", str(tmp_path))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "browsers"))
    monkeypatch.delenv("CALLBOARD_CHROMIUM", raising=False)
    monkeypatch.setattr("callboard.machines.browser_program._ALSO_LOOKED_IN", "")
    monkeypatch.setattr("callboard.cli.setup._SYSTEM_PATH", "")
    monkeypatch.setattr("callboard.cli.setup._PLAYWRIGHT", (str(tmp_path / "playwright"),))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return host


def test_what_is_missing_is_said_and_installed(host: Host, capsys: pytest.CaptureFixture[str]):
    setup(yes=True)
    assert host.executed == [
        "apt-get update -qq",
        f"apt-get install {OPTIONS} bubblewrap passt iproute2",
        *BROWSER_OF_APT,
        f"apt-get install {OPTIONS} chromium-headless-shell",
    ]
    out, err = capsys.readouterr()
    assert "This host has all that Callboard needs." in out
    assert err.startswith("This host lacks bubblewrap, passt, iproute2, a browser. This will be executed:\n")
    assert "no way to the download" in err


def test_there_is_nothing_to_do_a_second_time(host: Host):
    setup(yes=True)
    before = host.executed
    setup()
    assert host.executed == before


def test_what_typescript_needs_is_installed_by_npm_as_it_is_locked(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("sys.prefix", str(host.folder / "venv"))
    for program in ("bwrap", "pasta", "ip", "chromium-headless-shell"):
        host.has(program)
    host.has("npm", "echo 'npm error it cannot be reached' >&2; exit 1")
    with pytest.raises(ConfigurationError, match="npm error it cannot be reached"):
        setup(yes=True, typescript=True)
    with pytest.raises(ProjectError, match="callboard setup --typescript"):
        require_tools()
    host.has(
        "npm", 'echo "npm $*" >> "$HOST/log"; /bin/mkdir -p node_modules/esbuild; /bin/cp *-lock.json "$HOST/lock"'
    )
    (host.folder / "venv" / "share" / "callboard" / "node-tools-0123456789abcdef").mkdir()
    setup(yes=True, typescript=True)
    setup(yes=True, typescript=True)
    assert host.executed == ["npm ci --ignore-scripts --omit=dev --no-audit --no-fund"]
    assert (host.folder / "lock").read_bytes() == (LISTED / "package-lock.json").read_bytes()
    assert [path.name for path in require_tools().parent.iterdir()] == [require_tools().name]
    assert "lacks what projects in TypeScript need" in capsys.readouterr().err


def test_what_another_setup_installs_at_the_same_time_is_left_as_it_is(host: Host, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.prefix", str(host.folder / "venv"))
    host.has("npm", 'echo "npm $*" >> "$HOST/log"; /bin/mkdir -p node_modules/esbuild')
    tools_folder().parent.mkdir(parents=True)
    with ThreadPoolExecutor() as threads:
        with wait_for_lock(tools_folder().parent):
            later = threads.submit(install_tools)
            (tools_folder() / "node_modules" / "esbuild").mkdir(parents=True)
        later.result()
    assert host.executed == []


def test_nothing_is_installed_where_nobody_can_say_yes(host: Host, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(BadRequest, match="--yes"):
        setup()
    assert host.executed == []


def test_a_plain_user_installs_by_sudo(host: Host, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    host.has("chromium-headless-shell")
    setup(yes=True)
    assert host.executed == ["sudo", "apt-get update -qq", "sudo", *host.executed[3:]]
    (host.folder / "bwrap").unlink()
    (host.folder / "sudo").unlink()
    with pytest.raises(ConfigurationError, match=r"Install bubblewrap \(the program `bwrap`\)"):
        setup(yes=True)


def test_a_host_that_is_not_known_is_told_what_it_needs(host: Host, capsys: pytest.CaptureFixture[str]):
    (host.folder / "apt-get").unlink()
    with pytest.raises(ConfigurationError) as raised:
        setup(yes=True)
    assert host.executed == ["playwright install chromium-headless-shell"]
    for needed in ("bubblewrap (the program `bwrap`)", "passt (the program `pasta`)", "CALLBOARD_CHROMIUM"):
        assert needed in raised.value.message


def test_the_browser_of_playwright_comes_first(host: Host):
    for program in ("bwrap", "pasta", "ip"):
        host.has(program)
    # It lacks a library until the second command has been given.
    host.has(
        "playwright",
        'echo "playwright $*" >> "$HOST/log"\n[ "$1" = install ] && exec /bin/cp "$HOST/broken" "$HOST/chromium"\n'
        'exec /bin/cp "$HOST/ip" "$HOST/chromium"',
    )
    host.has("broken", "echo libnss3.so >&2; exit 127")
    setup(yes=True)
    assert host.executed == [
        "playwright install chromium-headless-shell",
        "playwright install-deps chromium-headless-shell",
    ]


def test_another_browser_than_the_configured_one_is_not_installed(host: Host, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CALLBOARD_CHROMIUM", "/nowhere")
    with pytest.raises(MachineError, match="CALLBOARD_CHROMIUM names /nowhere"):
        setup(yes=True)
    assert host.executed == []
