"""The doctor's check of the Node.js that projects in TypeScript run on."""

from __future__ import annotations

from pathlib import Path

import pytest

from callboard.cli.doctor import host
from callboard.cli.doctor.findings import Status
from callboard.machines.box import driver_program
from tests.support.files import write_files


async def test_a_node_that_is_too_old_for_user_code_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = tmp_path / "node"
    before = {"before-22.15.js": "delete require('node:module').registerHooks;"}
    write_files(
        tmp_path, {**before, "node": f'#!/bin/sh\nexec {driver_program()} -r {tmp_path}/before-22.15.js "$@"\n'}
    )
    node.chmod(0o755)
    monkeypatch.setenv("CALLBOARD_NODE", str(node))
    monkeypatch.setattr(host, "has_tools", lambda: True)
    finding = await host.check_typescript()
    assert finding.status is Status.FAILED
    assert f"{node} cannot run user code in TypeScript: It is Node.js " in finding.message
