"""What a deploy tells of APIs without executing anything."""

from __future__ import annotations

import json

from callboard.projects.api_descriptions import read_line
from callboard.storage import object_keys
from callboard.storage.folder import FolderStore
from tests.support.project_folders import Deployed

FUNCTION = "async def automation(page, params{annotation}):\n    {body}\n"
DOCSTRING = '"""Of it."""'


async def test_the_docstring_is_that_of_the_function_else_that_of_the_file(deployed: Deployed, store: FolderStore):
    manifest = await deployed(
        {
            "api/both.py": f'"""Of the file."""\n{FUNCTION.format(annotation="", body=DOCSTRING)}',
            "api/file.py": f'"""Of the file."""\n{FUNCTION.format(annotation="", body="pass")}',
            "api/broken.py": "def",
        }
    )
    stored = json.loads(await store.get(object_keys.input_schemas("shop", manifest.version)) or b"")["apis"]
    assert stored == {"both": {"docstring": "Of it."}, "file": {"docstring": "Of the file."}, "list": {}, "broken": {}}


async def test_where_no_code_is_executed_an_annotation_gives_a_warning(deployed: Deployed):
    manifest = await deployed({"api/typed.py": FUNCTION.format(annotation=": dict[str, int]", body="pass")})
    (warning,) = manifest.warnings
    assert str(warning).endswith("its parameters are not described and not checked: this deploy executes no code")


def test_a_line_tells_parameters_and_result_apart():
    described = read_line('{"problem": "no", "result": {"type": "array"}}')
    assert str(described.parameters) == "no"
    assert described.result == {"type": "array"}
    stranger = read_line('{"schema": null, "result": {"$ref": "https://example.com"}}')
    assert stranger.parameters is None
    assert "does not lead to a definition of its own" in str(stranger.result)
