"""What the pages for operators show is typed on the real stack, where it can be."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support import doc_commands
from tests.support.command_line import Command
from tests.support.polling import until
from tests.support.processes import CALLBOARD, execute
from tests.support.repository import REPOSITORY
from tests.support.stack import Stack

pytestmark = pytest.mark.timeout(500)

TROUBLE = doc_commands.typed("docs/troubleshooting.md")
(SET_UP,) = doc_commands.typed("docs/configure.md", "The Temporal namespace and retention")
(DOCTOR,) = doc_commands.typed("docs/install.md", "Check the installation")


async def test_the_commands_of_troubleshooting_say_something(stack: Stack, tmp_path: Path) -> None:
    folder = tmp_path / "shop"  # beside those that are published, as something is saved there
    shutil.copytree(stack.projects / "shop", folder)
    run_id = await stack.start("fail", {}, retry={"maximumAttempts": 1})
    assert (await stack.result(run_id))["status"] == "failed"
    command = Command(stack, "shop")

    async def is_well() -> bool:  # workers say what they offer every ten seconds
        return (await execute(CALLBOARD, "doctor", cwd=command.folder, env=command.environment())).code == 0

    await until(is_well, 120)
    script = "".join(block.text for block in TROUBLE).replace("~/.local/share/callboard", str(stack.data))
    given = f"RUN_ID={run_id} URL={stack.url} KEY={stack.api_key}\n"
    # The Run is one of another project than that of the folder.
    script = script.replace(" $RUN_ID", " $RUN_ID -p lab").replace(
        "runs list -f status=failed", "runs list -p lab -f status=failed"
    )
    said = await command.script(given + script, folder, within=300)
    assert said.count("Temporal") > 4, "the doctor"
    assert said.count('"status":"ready"') == 2
    assert f'"{run_id}"' in said or run_id in said
    assert "CALLBOARD_UPLOAD_LIMIT" in said, "the settings"
    assert str(stack.data / "artifacts") in said, "what takes up the disk"
    assert stack.api_key not in said
    (trace,) = (folder / "output").glob("trace_*.zip")
    assert trace.read_bytes().startswith(b"PK")


async def test_a_namespace_is_set_up_and_the_doctor_looks(stack: Stack, tmp_path: Path) -> None:
    command = Command(stack)
    address = f"export CALLBOARD_TEMPORAL_ADDRESS={stack.dev.temporal.address}\n"
    said = await command.script(address + SET_UP.text, tmp_path, within=60)
    assert "7d" in said or "7 days" in said, said
    assert "Temporal" in await command.script(DOCTOR.text, tmp_path, within=90)


async def test_the_workers_of_the_page_have_options_that_there_are(stack: Stack) -> None:
    """They run until they are stopped; tests/system/test_roles.py starts such ones."""
    (more,) = (block for block in doc_commands.blocks("docs/several-hosts.md") if block.heading == "Roles")
    told = await Command(stack)("worker", "--help")
    options = {word for line in more.commands for word in line.partition("#")[0].split() if word.startswith("--")}
    assert options == {"--role", "--machines", "--project"}
    assert all(option in told.out for option in options)
    assert (REPOSITORY / "tests" / "system" / "test_roles.py").is_file()
