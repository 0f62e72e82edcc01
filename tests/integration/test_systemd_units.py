"""The units in hosting/systemd are ones that systemd takes, give a worker what it needs, and save what is kept."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from callboard.machines.cgroups import _CONTROLLERS, _WORKER
from callboard.machines.machine_limits import MOST_THREADS
from callboard.settings import Settings
from tests.support.repository import REPOSITORY

UNITS = REPOSITORY / "hosting" / "systemd"


def service(name: str) -> dict[str, str]:
    """The settings of a unit, the last one where a setting is there twice."""
    lines = (UNITS / name).read_text().splitlines()
    return {line.partition("=")[0]: line.partition("=")[2] for line in lines if "=" in line and line[0] != "#"}


def test_systemd_finds_no_fault(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (Debian: systemd).")
    copies: list[Path] = []
    for unit in UNITS.glob("callboard-*"):
        copy = tmp_path / unit.name
        # The program that is named has to be there, and a wheel is not installed here.
        copy.write_text(unit.read_text().replace("/opt/callboard/bin/callboard", "/bin/true"))
        copies.append(copy)
    assert len(copies) == 5
    command = ["systemd-analyze", "verify", "--man=no", *map(str, copies)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_worker_has_a_control_group_time_to_drain_and_room_for_machines() -> None:
    worker = service("callboard-worker.service")
    assert worker["Delegate"].split() == list(_CONTROLLERS)
    assert worker["DelegateSubgroup"] == _WORKER
    assert int(worker["TimeoutStopSec"]) >= Settings().drain.total_seconds() + 15
    assert worker["KillMode"] == "mixed"
    assert int(worker["TasksMax"]) > 6 * MOST_THREADS


def test_what_walls_of_machines_need_is_not_forbidden() -> None:
    worker = service("callboard-worker.service")
    forbidden = {
        "MemoryDenyWriteExecute", "PrivateDevices", "ProcSubset", "ProtectControlGroups", "ProtectHostname",
        "ProtectKernelLogs", "ProtectKernelTunables", "ProtectProc", "RestrictNamespaces",
    }  # fmt: skip
    assert not forbidden & worker.keys()
    assert worker["DeviceAllow"] == "/dev/net/tun rw"
    assert "AF_NETLINK" in worker["RestrictAddressFamilies"].split()


def backups(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name != "unfinished")


def test_a_backup_is_whole_takes_no_space_twice_and_the_newest_stay(tmp_path: Path) -> None:
    artifacts, database, saved = tmp_path / "artifacts", tmp_path / "temporal.db", tmp_path / "backups"
    (saved / "unfinished").mkdir(parents=True)  # of a backup that was killed
    (artifacts / "runs").mkdir(parents=True)
    (artifacts / "runs" / "old").write_text("old")
    (artifacts / ".tmp-1").write_text("being written")
    for name in ("2026-01-01T00-00-00Z", "2026-01-02T00-00-00Z"):
        shutil.copytree(artifacts, saved / name / "artifacts")
    places = {"ARTIFACTS": str(artifacts), "DATABASE": str(database), "PYTHON": sys.executable, "KEEP": "2"}
    with contextlib.closing(sqlite3.connect(database)) as server:
        server.execute("PRAGMA journal_mode=wal")
        server.execute("CREATE TABLE runs (id TEXT)")
        server.execute("INSERT INTO runs VALUES ('one')")
        server.commit()
        command = ["sh", str(UNITS / "backup.sh"), str(saved)]
        done = subprocess.run(command, env=os.environ | places, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    before, new = backups(saved)
    assert before.name == "2026-01-02T00-00-00Z"
    with contextlib.closing(sqlite3.connect(new / "temporal.db")) as copy:
        assert copy.execute("SELECT id FROM runs").fetchall() == [("one",)]
    assert [path.name for path in (new / "artifacts").rglob("*") if path.is_file()] == ["old"]
    assert (new / "artifacts" / "runs" / "old").samefile(before / "artifacts" / "runs" / "old")
