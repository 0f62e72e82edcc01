"""Runs through a proxy over TLS with credentials, on a browser that trusts it as docs/configure.md shows."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from examples.site import proxy
from tests.support import doc_commands
from tests.support.stack import PROXIES, Configured

(PIN,) = doc_commands.typed("docs/configure.md", "Proxies with a certificate of your own")


@pytest.mark.parametrize("project", PROXIES)
async def test_a_run_goes_through_it_wherever_it_is_named(configured: Configured, project: str) -> None:
    stack, address = configured.stack, configured.forward_proxy
    url = stack.site.replace("127.0.0.1", proxy.HIDDEN) + "/visitor"
    fields: dict[str, Any] = {"proxy": address} if project == "named-by-the-start" else {}
    answer = await stack.run("look", {"url": url}, project=project, **fields)
    assert answer.get("result") == ["1.1 example-proxy", address.replace("ada:lovelace@", ""), True], answer


def test_the_pin_is_what_the_command_prints(configured: Configured) -> None:
    done = subprocess.run(
        ["bash", "-c", PIN.text], cwd=configured.certificate.file.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == configured.certificate.pin
