"""What docs/cli.md shows is typed, in its order, on the real stack; and what it tells is so."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from cli.exit_codes import ExitCode
from cli.filters import parse_run_filters
from schemas.rest.runs import RunsQuery
from settings import Settings
from tests.support import doc_commands
from tests.support.command_line import Command
from tests.support.repository import REPOSITORY
from tests.support.stack import Stack

PAGE = (REPOSITORY / "docs" / "cli.md").read_text()
BLOCKS = [block.text for block in doc_commands.typed("docs/cli.md")]


async def test_what_is_shown_is_done(stack: Stack, tmp_path: Path) -> None:
    folder = tmp_path / "shop"  # beside those that are published, as something is saved there
    shutil.copytree(stack.projects / "shop", folder)
    script = "".join(BLOCKS)
    at = f'"baseUrl": {json.dumps(stack.site)}'
    script = script.replace('"pages": 1', f'"pages": 1, {at}').replace('{"user"', f'{{{at}, "user"')
    said = await Command(stack, "shop").script(script, folder, within=110)
    assert said.count('"Oak Lamp"') == 4, "the results of start, result, get and rerun"
    assert said.count("AuthSession alice is READY.\n") == 2
    assert (folder / "trace.zip").read_bytes().startswith(b"PK")


def test_the_exit_codes_are_those_of_the_code() -> None:
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, flags=re.MULTILINE)} == {*ExitCode}


def test_the_filters_are_those_of_the_api() -> None:
    (sentence,) = re.findall(r"^The filters of `-f` are (.*?)\. If", PAGE, flags=re.DOTALL | re.MULTILINE)
    told = set(re.findall(r"`(\w+)`", sentence))
    assert told == {field.alias for field in RunsQuery.model_fields.values()} - {"limit", "cursor"}
    assert set(parse_run_filters([f"{name}=x" for name in told])) == told


def test_every_variable_is_one() -> None:
    named = set(re.findall(r"CALLBOARD_(\w*[A-Z])", PAGE))
    assert {name.lower() for name in named} <= Settings.model_fields.keys()
