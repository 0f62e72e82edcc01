"""A Machine's box: what user code finds there, what it does not, and that nothing stays in it."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from machines import keeper
from machines.attempt_spec import AttemptReport
from machines.box import box_refusal, python_folders
from machines.isolation import Level
from machines.runner import confinement, process_tree
from machines.runner.folders import TEMPORARY, take_over
from tests.support.machine_processes import BROWSER, NODE, ZYGOTE, find_process
from tests.support.machines import Lab, Run, attempt_spec, failure, open_lab, unnoticed, value

PROJECT = {
    "api/tries.py": """
        import ctypes
        import os
        import socket

        KEYCTL = {"x86_64": 250, "aarch64": 219}

        def tried(work):
            try:
                return work()
            except OSError as error:
                return type(error).__name__

        def read(path):
            if os.path.isdir(path):
                os.listdir(path)
            else:
                open(path, "rb").close()
            return "read"

        def write(path):
            open(path, "wb").close()
            return "written"

        def connect(name):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(chr(0) + name)
            return "connected"

        def kill(pid):
            os.kill(int(pid), 0)
            return "signaled"

        def open_socket(family):
            socket.socket(int(family)).close()
            return "opened"

        def find_keyring(keyring):
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.syscall(KEYCTL[os.uname().machine], 0, int(keyring), 0) == -1:
                raise OSError(ctypes.get_errno(), "keyctl")
            return "found"

        DOES = {
            **{"read": read, "write": write, "connect": connect, "kill": kill},
            **{"open a socket": open_socket, "find a keyring": find_keyring},
        }

        async def automation(page, params):
            does = DOES[params["what"]]
            return {str(one): tried(lambda: does(one)) for one in params["on"]}
    """,
    "api/looks.py": """
        import os

        async def automation(page):
            return {
                "commands": [open(f"/proc/{pid}/cmdline").read() for pid in os.listdir("/proc") if pid.isdigit()],
                "status": {line.split(":")[0]: line.split(":")[1].strip() for line in open("/proc/self/status")},
                "environment": dict(os.environ),
                "uid": os.getuid(),
            }
    """,
    "api/leaves.py": """
        import ctypes
        import os

        FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")

        async def automation(page, params):
            segment = ctypes.CDLL(None).shmget(4711, 4096, 0o600 | (0o1000 if params["leave"] else 0))
            if params["leave"]:
                for folder in FOLDERS:
                    open(f"{folder}/left-by-an-attempt", "w").close()
            left = [f"{folder}/{name}" for folder in FOLDERS for name in os.listdir(folder) if "left" in name]
            return {"segment": segment >= 0, "files": left}
    """,
    "api/transfers.py": """
        from pathlib import Path

        async def automation(page, params):
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
    "api/films.py": """
        async def automation(page, params):
            context = await page.context.browser.new_context(record_video_dir=params["folder"])
            await context.close()
    """,
}
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


async def tries(quiet: Run, what: str, *on: object) -> list[str]:
    """What comes of it, one by one."""
    told = value(await quiet("tries", {"what": what, "on": [str(one) for one in on]}))
    return [told[str(one)] for one in on]


async def its_scratch(quiet: Run, lab: Lab) -> Path:
    """The scratch folder of the Machine."""
    value(await quiet("looks"))
    return next(lab.scratch.iterdir())


async def test_the_hosts_files_are_not_there(quiet: Run, quiet_lab: Lab) -> None:
    beside = quiet_lab.scratch.parent / "settings-with-a-secret"
    beside.write_text("secret")
    other = quiet_lab.version({"api/other.py": "SECRET = 1"}, project="other").folder
    mine = await its_scratch(quiet, quiet_lab)
    home = next((entry for entry in Path.home().iterdir() if entry.name != ".cache"), "/home")
    closed = [beside, other / "api/other.py", mine / "tmp", mine / "traces", mine / "driver", home, "/home", "/run"]
    assert set(await tries(quiet, "read", *closed, "/etc/shadow", "/sys", __file__)) == {"FileNotFoundError"}


async def test_what_is_there_of_the_system_can_be_read(quiet: Run) -> None:
    there = ["/usr/bin", "/bin/sh", "/etc/passwd", "/etc/ssl/certs", "/proc/cpuinfo", "/dev/urandom"]
    assert set(await tries(quiet, "read", *there)) == {"read"}


async def test_only_its_own_folders_can_be_written(quiet: Run, quiet_lab: Lab) -> None:
    mine = await its_scratch(quiet, quiet_lab)
    runner = Path(confinement.__file__).parent
    closed = ["/x", "/usr/x", "/etc/x", "/dev/x", "/proc/sys/kernel/core_pattern", runner / "x", mine / "downloads/x"]
    told = await tries(quiet, "write", *closed, mine / "work/x")
    assert not {"written"} & set(told), told
    assert (mine / "work/x").exists() is False
    own = [mine / "work/attempt/project/x", mine / "work/attempt/tmp/x", "/tmp/x", "/var/tmp/x", "/dev/shm/x"]
    assert set(await tries(quiet, "write", *own)) == {"written"}


async def test_a_shared_folder_is_the_hosts(quiet: Run, quiet_lab: Lab) -> None:
    shared = quiet_lab.scratch.parent / "shared"
    assert await tries(quiet, "write", shared / "from-user-code") == ["written"]
    assert (shared / "from-user-code").exists()


async def test_nothing_stays_in_temporary_folders_and_shared_memory(quiet: Run) -> None:
    assert value(await quiet("leaves", {"leave": True}))["segment"] is True
    assert value(await quiet("leaves", {"leave": False})) == {"segment": False, "files": []}
    assert not Path("/dev/shm/left-by-an-attempt").exists()


async def test_no_process_of_anybody_else_is_there(quiet: Run) -> None:
    told = value(await quiet("looks"))
    assert str(os.getpid()) not in "".join(told["commands"])
    assert [command for command in told["commands"] if "keeper" in command or "supervisor" in command] == []
    assert len(told["commands"]) <= 3


async def test_no_signal_reaches_the_process_that_it_was_forked_from(quiet: Run) -> None:
    if confinement.abi() < confinement.SCOPES_SINCE and os.geteuid() == 0:
        pytest.skip("The kernel's Landlock knows nothing of signals, and boxes of root have no PID namespace inside.")
    told = await tries(quiet, "kill", 1, 2)
    assert "ProcessLookupError" not in told or os.geteuid() != 0
    if os.geteuid() == 0:
        assert set(told) == {"PermissionError"}


async def test_it_has_no_privileges_and_gets_none(quiet: Run) -> None:
    told = value(await quiet("looks"))
    status = told["status"]
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    assert told["uid"] != 0


async def test_sockets_without_a_path_are_out_of_reach(quiet: Run) -> None:
    if confinement.abi() < confinement.SCOPES_SINCE:
        pytest.skip("The kernel's Landlock knows nothing of sockets in the abstract namespace.")
    name = f"callboard-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0{name}")
        server.listen()
        assert await tries(quiet, "connect", name) == ["PermissionError"]


async def test_no_socket_is_made_of_a_family_that_no_namespace_holds_back(quiet: Run) -> None:
    closed = [socket.AF_BLUETOOTH, socket.AF_ALG, socket.AF_VSOCK]
    assert await tries(quiet, "open a socket", *map(int, closed)) == ["PermissionError"] * len(closed)
    assert await tries(quiet, "open a socket", int(socket.AF_INET)) == ["opened"]


async def test_no_key_of_the_kernel_is_reached(quiet: Run) -> None:
    of_thread, of_session = -1, -3
    assert await tries(quiet, "find a keyring", of_thread, of_session) == ["PermissionError"] * 2


async def test_a_filter_of_system_calls_stands_around_all_that_is_in_a_box(lab: Lab) -> None:
    machine = await lab.machine(lab.version(PROJECT))
    outside = filters(machine.keeper_pid)
    boxed = {command: filters(find_process(machine.keeper_pid, command)) for command in (NODE, BROWSER, ZYGOTE)}
    assert [command for command, count in boxed.items() if count <= outside] == []


def filters(pid: int) -> int:
    """How many filters of system calls a process has."""
    (count,) = re.findall(rb"^Seccomp_filters:\s*(\d+)$", process_tree.read(f"/proc/{pid}/status"), re.MULTILINE)
    return int(count)


async def test_files_go_to_and_from_its_own_temporary_folder(quiet: Run) -> None:
    told = value(await quiet("transfers", {"page": PAGE}))
    assert told == ["what was downloaded", "from a folder of my own", "what was downloaded"]


async def test_the_driver_uses_no_file_outside_of_the_attempts_folder(quiet: Run, quiet_lab: Lab) -> None:
    failed = failure(await quiet("films", {"folder": str(quiet_lab.scratch.parent / "films")}))
    assert "films is not there" in failed.message
    assert not (quiet_lab.scratch.parent / "films").exists()


async def test_the_projects_variables_are_user_codes_alone(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBOARD_USER_OF_USER_CODE", "a-word-for-user-code")
    machine = await lab.machine(lab.version(PROJECT))
    assert value(await machine.run_attempt(attempt_spec("looks"), unnoticed))["environment"]["OF_USER_CODE"]
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
        assert value(await machine.run_attempt(attempt_spec("looks"), unnoticed))
        # A headless browser makes no socket there; a full one does, and would not start.
        browser = find_process(machine.keeper_pid, BROWSER)
        assert b"TMPDIR=/tmp" in process_tree.read(f"/proc/{browser}/environ").split(b"\0")
        assert Path(f"/proc/{browser}/root/tmp").samefile(lab.scratch / machine.name / TEMPORARY)


async def test_at_the_level_none_no_wall_stands(lab: Lab, tmp_path: Path) -> None:
    beside = tmp_path / "beside"
    pool = lab.pool(launch=replace(lab.launch, isolation=Level.NONE))

    async def run(api: str, parameters: Any = None, **_fields: Any) -> AttemptReport:
        return await pool.run_attempt(lab.version(PROJECT), attempt_spec(api, parameters), unnoticed)

    assert await tries(run, "write", beside) == ["written"]
    assert beside.exists()
    machine = pool.slots[0].machine
    assert machine is not None
    assert await tries(run, "kill", machine.keeper_pid) == ["signaled"]


def test_it_is_said_why_there_can_be_no_box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box_refusal.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    try:
        assert box_refusal() == "bubblewrap is not installed (Debian: apt-get install bubblewrap)"
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
