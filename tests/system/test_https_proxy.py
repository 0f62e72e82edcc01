"""Runs through a proxy over TLS with credentials, on a browser that trusts it as docs/configure.md shows."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest

from examples.site import proxy
from tests.support.configured_stack import PAGE, PROXIES, Configured


@pytest.mark.parametrize("project", PROXIES)
async def test_a_run_goes_through_it_wherever_it_is_named(configured: Configured, project: str) -> None:
    stack, address = configured.stack, configured.forward_proxy
    url = stack.site.replace("127.0.0.1", proxy.HIDDEN) + "/visitor"
    fields: dict[str, Any] = {"proxy": address} if project == "named-by-the-start" else {}
    answer = await stack.run("look", {"url": url}, project=project, **fields)
    assert answer.get("result") == ["1.1 example-proxy", address.replace("ada:lovelace@", ""), True], answer


def test_the_pin_is_what_the_command_prints(configured: Configured) -> None:
    (command,) = re.findall(r"```sh\n(openssl .*?)```", PAGE, flags=re.DOTALL)
    done = subprocess.run(
        ["bash", "-c", command], cwd=configured.certificate.file.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == configured.certificate.pin
