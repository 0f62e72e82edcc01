"""`make audit`, where there is no advisory service."""

from __future__ import annotations

import os
import socket
import subprocess

import pytest

from tests.support.repository import REPOSITORY


def test_an_audit_without_a_service_fails_and_says_nothing_was_checked() -> None:
    with socket.socket() as closed:  # it is bound, so that nobody else listens there
        closed.bind(("127.0.0.1", 0))
        environment = {**os.environ, "UV_AUDIT_SERVICE": f"http://127.0.0.1:{closed.getsockname()[1]}"}
        script = ["bash", str(REPOSITORY / "hosting" / "scripts" / "audit.sh")]
        audit = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
    if "No solution found" in audit.stderr:
        pytest.skip("uv reaches no index of packages here, which it asks before it audits.")
    assert audit.returncode == 2
    assert "the locked packages were NOT checked: no advisory service was reached" in audit.stderr
