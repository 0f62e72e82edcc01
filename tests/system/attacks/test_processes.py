"""User code reaches no process but those that it has started: no memory, no environment, no descriptor, no signal."""

from __future__ import annotations

from typing import Any

import pytest

from callboard.machines.runner import process_tree
from tests.system.attacks.installation import SEALING_KEY, Installation

OTHERS = ("keeper.py ", "main.py supervisor ", "run-driver", "--headless")
"""What stands in command lines of a Machine's processes that are not of user code."""


@pytest.fixture
async def found(installation: Installation) -> tuple[dict[int, str], dict[str, Any]]:
    """The processes of the installation, and what an attack on all of them tells."""
    await installation.still_works("victim")
    await installation.still_works()
    others = {
        **installation.parts,
        **installation.processes_of("victim"),
        **installation.processes_of("attacker"),
    }
    told = await installation.attack("processes", {"pids": list(others)})
    return others, told


def of_others(others: dict[int, str], told: dict[str, Any]) -> dict[str, Any]:
    """What got through to processes that are still there: that of the Attempt itself is not, nor its renderers."""
    got: dict[str, Any] = {}
    for what, result in told["through"].items():
        pid, _, way = what.partition(": ")
        if process_tree.read(f"/proc/{pid}/stat"):
            got[f"{way} of {others[int(pid)][-80:]}"] = result
    return got


async def test_no_other_process_can_be_reached(
    installation: Installation, found: tuple[dict[int, str], dict[str, Any]]
) -> None:
    others, told = found
    names = " ".join(others.values())
    for part in ("worker", "api", "temporal", *OTHERS):
        assert part in names, f"{part} was not attacked"
    assert of_others(others, told) == {}
    await installation.still_works()


async def test_no_other_process_can_be_seen(found: tuple[dict[int, str], dict[str, Any]]) -> None:
    """Nor its command line, which may name projects, folders and addresses."""
    _, told = found
    foreign = [line for line in told["seen"] if any(part in line for part in OTHERS)]
    assert foreign == []
    assert not any(SEALING_KEY in line for line in told["seen"])


async def test_user_code_has_no_privileges_and_cannot_get_any(found: tuple[dict[int, str], dict[str, Any]]) -> None:
    """So programs with the set-user-ID bit, such as `su`, give it none."""
    _, told = found
    privileges = told["privileges"]
    assert privileges.pop("NoNewPrivs") == "1"
    assert {name: int(mask, 16) for name, mask in privileges.items() if name != "CapBnd"} == dict.fromkeys(
        ("CapEff", "CapPrm", "CapAmb", "CapInh"), 0
    )
