"""The keeper lets nothing outlive it: run as the script that it is, and by its parts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from callboard.machines import keeper, keeper_process
from tests.support.keepers import SLEEPS, Keep
from tests.support.machines import of_folder
from tests.support.polling import block_until
from tests.support.repository import REPOSITORY

DETACHES = """
import os, signal, time
for _ in range(5):
    if os.fork() == 0:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        if os.fork() == 0:
            os.chdir("/")
            if os.fork() == 0:
                os.execve("/bin/sleep", ["sleep", "600"], {})
            os.execve("/bin/sleep", ["sleep", "600"], {})
        os._exit(0)
    os.wait()
"""


KEYRING = """
import ctypes, platform, time
KEYCTL, GET_KEYRING_ID, SESSION = {"x86_64": 250, "aarch64": 219}[platform.machine()], 0, -3
print(ctypes.CDLL(None).syscall(KEYCTL, GET_KEYRING_ID, SESSION, 0), flush=True)
"""


def test_what_it_starts_has_a_session_keyring_of_its_own(keep: Keep) -> None:
    ours = int(subprocess.run([sys.executable, "-c", KEYRING], capture_output=True, check=True, text=True).stdout)
    if ours == -1:
        pytest.skip("Nobody may use keys here.")
    kept = keep(KEYRING)
    kept.hear()
    assert int(kept.hear()["tail"]) not in (-1, ours)
    kept.ends()


@pytest.mark.parametrize("order", [b"", b"anything"], ids=["it hangs up", "it says something"])
def test_at_a_word_of_the_worker_or_its_end_everything_ends(keep: Keep, order: bytes) -> None:
    kept = keep(DETACHES + SLEEPS)
    assert psutil.pid_exists(kept.hear()["pid"])
    block_until(lambda: len(keeper.descendants(kept.process.pid)) == 11)
    assert kept.process.stdin is not None
    kept.process.stdin.write(order)
    kept.process.stdin.flush()
    if not order:
        kept.hang_up()
    kept.ends()


def test_the_child_s_end_ends_detached_processes_and_reports_its_output(keep: Keep) -> None:
    kept = keep(DETACHES + "print('x' * 100_000 + 'last'); raise SystemExit(7)")
    kept.hear()
    end = kept.hear()
    assert end["exited"] == 7
    assert end["tail"].endswith("xxxlast\n")
    assert len(end["tail"]) == 4096
    kept.ends()


def test_a_child_that_is_killed_is_told_by_the_signal(keep: Keep) -> None:
    kept = keep("import os; os.write(1, b'\\xff\\x00'); os.kill(os.getpid(), 9)")
    kept.hear()
    assert kept.hear() == {"exited": -9, "tail": "\ufffd\0"}
    kept.ends()


def test_signals_of_a_terminal_do_not_end_it(keep: Keep) -> None:
    kept = keep(SLEEPS)
    kept.hear()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        kept.process.send_signal(number)
    time.sleep(0.1)
    assert kept.process.poll() is None
    (child,) = kept.children()
    assert child.is_running()
    child.send_signal(signal.SIGTERM)
    assert kept.hear()["exited"] == -signal.SIGTERM, "the child does not inherit its deafness"
    kept.ends()


def test_strays_are_reaped_while_the_child_lives(keep: Keep) -> None:
    code = "import os\nfor _ in range(50):\n    if os.fork() == 0:\n        os.fork(); os._exit(0)\n    os.wait()\n"
    kept = keep(code + SLEEPS)
    kept.hear()
    block_until(lambda: [child.pid for child in kept.children()] == [kept.children()[0].pid])
    assert kept.process.poll() is None
    kept.hang_up()
    kept.ends()


def test_a_tree_that_grows_while_it_is_killed_ends_too(keep: Keep) -> None:
    code = """
import os, time
for _ in range(4):
    os.fork()
while True:
    if os.fork() == 0:
        time.sleep(600)
    time.sleep(0.01)
"""
    kept = keep(code)
    kept.hear()
    block_until(lambda: len(keeper.descendants(kept.process.pid)) > 60)
    kept.hang_up()
    kept.ends()


def test_the_scratch_folder_goes_whatever_lies_in_it(keep: Keep, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").touch()
    code = f"""
import os, socket
os.makedirs("a/b/c")
os.symlink({str(tmp_path / "outside")!r}, "a/link")
os.mkfifo("a/fifo")
socket.socket(socket.AF_UNIX).bind("a/socket")
open("a/b/\\udcff\\n", "w")
deep = os.getcwd()
for _ in range(300):
    os.mkdir("d" * 100)
    os.chdir("d" * 100)
"""
    kept = keep(code)
    kept.hear()
    assert kept.hear()["exited"] == 0
    kept.ends()
    assert (tmp_path / "outside" / "file").exists()


def test_a_folder_whose_permissions_were_taken_away_is_removed() -> None:
    """As a user who has no rights of root; if we are root, in a process that is not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        code = f"""
import os
from callboard.machines.runner.folders import remove
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
os.chdir({name!r})
os.makedirs("x/a/b"); os.makedirs("x/c/d")
os.symlink("/etc", "x/c/link")
for path in ("x/a/b", "x/c/d"):
    open(path + "/file", "w").close()
    os.chmod(path, 0)
for path in ("x/a", "x/c", "x"):
    os.chmod(path, 0o500 if path != "x/a" else 0)
remove("x")
print(os.path.exists("x"))
"""
        done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
        assert (done.stdout, done.stderr) == ("False\n", "")


def test_descendants_are_all_below_and_nobody_else(keep: Keep) -> None:
    """Also with names that look like fields of /proc, and after parents have gone."""
    code = """
import os, time
def name(text):
    open("/proc/self/comm", "w").write(text)
for text in (") R 1 (", "a b) (c", "((", "1 2 3"):
    if os.fork() == 0:
        name(text)
        if os.fork() == 0:
            if os.fork() == 0:
                name(") Z 0 0 0")
                time.sleep(600)
            os._exit(0)
        time.sleep(600)
time.sleep(600)
"""
    kept, other = keep(code), keep(SLEEPS)
    assert kept.hear()
    assert other.hear()

    def is_complete() -> bool:  # the child; of each name one, its ended child, and the orphan of that
        below = [psutil.Process(pid) for pid in keeper.descendants(kept.process.pid)]
        zombies = [process for process in below if process.status() == psutil.STATUS_ZOMBIE]
        return len(below) == 13 and len(zombies) == 4

    block_until(is_complete)
    expected = sorted(p.pid for p in psutil.Process(kept.process.pid).children(recursive=True))
    assert sorted(keeper.descendants(kept.process.pid)) == expected
    assert set(expected) <= set(keeper.descendants(os.getpid()))
    assert not set(expected) & set(keeper.descendants(other.process.pid))
    for one in (kept, other):
        one.hang_up()
        one.ends()


def test_a_keeper_that_is_killed_is_cleaned_up_after(keep: Keep) -> None:
    kept, other = keep(DETACHES.replace(", {})", ", dict(os.environ))") + SLEEPS), keep(SLEEPS)
    assert kept.hear()
    assert other.hear()
    block_until(lambda: len(keeper.descendants(kept.process.pid)) == 11)
    kept.process.kill()
    kept.process.wait()
    assert keeper_process.processes_of(kept.scratch)
    keeper_process.clean_up(kept.scratch)
    assert of_folder(kept.scratch) == []
    assert not kept.scratch.exists()
    assert other.process.poll() is None
    other.hang_up()
    other.ends()


def test_a_sweep_does_not_touch_a_folder_whose_name_begins_the_same(tmp_path: Path) -> None:
    for name in ("lab-1", "lab-10"):
        (tmp_path / name).mkdir()
    with subprocess.Popen(["sleep", "600"], env={"TMPDIR": f"{tmp_path}/lab-10/tmp"}) as sleeper:
        block_until(lambda: keeper_process.processes_of(tmp_path / "lab-10") == [sleeper.pid])
        for _ in range(2):  # the second finds nothing
            keeper_process.clean_up(tmp_path / "lab-1")
        assert sleeper.poll() is None
        assert [path.name for path in tmp_path.iterdir()] == ["lab-10"]
        sleeper.kill()


def test_what_a_keeper_starts_interrupts_no_other_process(keep: Keep) -> None:
    kept = keep(SLEEPS)
    assert os.sched_getscheduler(kept.hear()["pid"]) == os.SCHED_BATCH
    kept.hang_up()
    kept.ends()
