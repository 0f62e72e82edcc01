"""Which processes a Machine's meter takes for its own, as processes come and go while it looks."""

from __future__ import annotations

import pytest

from callboard.machines import resource_usage
from callboard.machines.resource_usage import Meter

ROOT = 100


class Processes(dict[int, int]):
    """The processes of a host, as /proc tells of them: each with its parent."""

    last_id = 500

    def read(self, path: str) -> bytes:
        _, _, name, *_ = path.split("/")
        if name == "loadavg":
            return f"0.1 0.1 0.1 1/2 {self.last_id}\n".encode()
        parent = self.get(int(name)) if path.endswith("/stat") else None
        return b"" if parent is None else f"{name} (x) S {parent} {'0 ' * 40}".encode()


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Processes:
    found = Processes({1: 0, ROOT: 1, 101: ROOT, 102: 101, 200: 1, 201: 200})
    monkeypatch.setattr(resource_usage, "pids", lambda: [*found])
    monkeypatch.setattr(resource_usage, "read", found.read)
    return found


def test_what_is_below_one_whose_parent_has_just_ended_is_found_once_that_has_another(processes: Processes) -> None:
    meter = Meter(ROOT)
    processes[102] = 300  # its parent has ended, and it has no other yet
    processes[103] = 102
    meter.look(1)
    assert meter.processes == 1
    processes[102] = ROOT
    meter.look(1)
    assert meter.processes == 3


def test_a_process_with_an_id_that_was_another_s_is_found(processes: Processes) -> None:
    meter = Meter(ROOT)
    meter.look(1)
    assert meter.processes == 2
    processes[201] = 102  # while nobody looked, all ids were given
    processes.last_id = 201
    meter.look(1)
    assert meter.processes == 3
