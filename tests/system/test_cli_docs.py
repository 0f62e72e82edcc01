"""What docs/cli.md shows is typed, in its order, on the real stack."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.support import doc_commands
from tests.support.command_line import Command
from tests.support.stack import Stack

BLOCKS = [block.text for block in doc_commands.typed("docs/cli.md")]


async def test_what_is_shown_is_done(stack: Stack, venv: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shop"  # beside those that are published, as something is saved there
    shutil.copytree(stack.projects / "shop", folder)
    (folder / ".venv").symlink_to(venv)
    script = "".join(BLOCKS)
    at = f'"baseUrl": {json.dumps(stack.site)}'
    script = script.replace('"pages": 1', f'"pages": 1, {at}').replace('{"user"', f'{{{at}, "user"')
    places = {"my-projects/shop": ".", "https://callboard.example.com": stack.url, "s3://BUCKET": f"{tmp_path}/store"}
    for shown, here in places.items():
        script = script.replace(shown, here)
    key = (stack.data / "api-key").read_text().strip()
    script = f"export CALLBOARD_API_KEY={key}\nSHOP_KEY=a-key-of-the-shop\n{script}"
    said = await Command(stack, "shop").script(script, folder, within=280)
    assert said.count('"Oak Lamp"') == 5, "the results of run, start, result, get and rerun"
    assert "Oak Lamp" in (folder / "output" / "products.json").read_text()
    samples = (folder / ".parameters" / "api" / "list-products").iterdir()
    (pulled,) = [file for file in samples if file.name != "default.json"]
    assert json.loads(pulled.read_text())["pages"] == 1
    assert said.count("AuthSession alice is READY.\n") == 2
    (trace,) = (folder / "output").glob("trace_*.zip")
    assert trace.read_bytes().startswith(b"PK")
