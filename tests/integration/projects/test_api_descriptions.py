"""A deploy reads the annotations of APIs in a box, whatever their code does there."""

from __future__ import annotations

import json
import textwrap
from typing import Any

import psutil

from callboard.projects.manifest import Manifest
from callboard.storage import object_keys
from tests.support.project_host import Host
from tests.support.wheels import make_wheel


def present_cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def api(code: str, annotation: str = "dict[str, int]") -> str:
    function = f"async def automation(page, params: {annotation} = None, **_kwargs):\n    return 1\n"
    return f"{textwrap.dedent(code)}\n{function}"


def says(body: str) -> str:
    """Code of something like a model of pydantic, whose schema is what `body` returns."""
    return f"class Model:\n    def model_json_schema(**_):\n        {body}\n"


async def schemas(host: Host, manifest: Manifest, which: str = "inputSchema") -> dict[str, Any]:
    stored = json.loads(await host.store.get(object_keys.input_schemas(manifest.project, manifest.version)) or b"")[
        "apis"
    ]
    return {name: description.get(which) for name, description in stored.items()}


INTEGERS = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": {"type": "integer"},
}


async def test_an_annotation_is_read_with_the_project_s_own_packages_and_modules(host: Host, wheels: Any):
    make_wheel(wheels, "models", files={"models.py": "from typing import TypedDict\nP = TypedDict('P', {'x': int})"})
    manifest = await host.deploy(
        {
            "requirements.txt": "models\n",
            "utils/more.py": "from models import P\nQ = dict[str, P]\n",
            "api/typed.py": api("from utils.more import Q", "Q"),
            "api/answers.py": "from utils.more import Q\nasync def automation(page, params=None) -> list[Q]: ...\n",
            "auth-sessions/create.py": "from models import P\nasync def create(page, params: P | None = None): ...\n",
        }
    )
    assert manifest.warnings == ()
    login = (await schemas(host, manifest))["auth-sessions/create"]
    assert login["properties"] == {"x": {"type": "integer"}}
    found = (await schemas(host, manifest))["typed"]
    assert found["additionalProperties"] == {"$ref": "#/$defs/P"}
    assert found["$defs"]["P"]["properties"] == {"x": {"type": "integer"}}
    answers = (await schemas(host, manifest, "resultSchema"))["answers"]
    assert (answers["type"], answers["$defs"]) == ("array", found["$defs"])


async def test_code_that_misbehaves_costs_the_schema_of_its_own_api_alone(host: Host):
    manifest = await host.deploy(
        {
            "api/a.py": api(""),
            "api/circular.py": api(says("schema = {}; schema['properties'] = schema; return schema"), "Model"),
            "api/ends.py": api("import os; os._exit(0)"),
            "api/hangs.py": api("while True: pass"),
            "api/is-missing.py": api("import nothing_like_this"),
            "api/prints.py": api("import os, sys; print('x' * 100_000); os.write(1, b'{}\\n'); sys.stderr.write('y')"),
            "api/quits.py": api("raise SystemExit(0)"),
            "api/raises.py": api(says("raise BaseException"), "Model"),
            "api/remote.py": api(says("return {'$ref': 'http://127.0.0.1/schema.json'}"), "Model"),
            "api/too-long.py": api("from typing import Literal\nL = dict[str, Literal[tuple(range(100_000))]]", "L"),
            "api/unicode.py": api("from typing import Literal\nL = dict[str, Literal['\\ud800']]", "L"),
            "api/z.py": api(""),
        }
    )
    found = await schemas(host, manifest)
    assert {name for name, schema in found.items() if schema == INTEGERS} == {"a", "prints", "z"}
    assert {name for name, schema in found.items() if schema is None} == {*found} - {"a", "prints", "z"}
    prefix = "its parameters are not described and not checked: "
    reasons = {w.file: w.message.removeprefix(prefix) for w in manifest.warnings if w.message.startswith(prefix)}
    assert reasons == {
        "api/circular.py": "params: Model gives no schema (ValueError)",
        "api/ends.py": "its code ended the process",
        "api/hangs.py": "its code took longer than 10 seconds",
        "api/is-missing.py": "ModuleNotFoundError: No module named 'nothing_like_this'",
        "api/quits.py": "The automation called sys.exit(0)",
        "api/raises.py": "its annotation cannot be read (BaseException)",
        "api/remote.py": "its schema has a reference that does not lead to a definition of its own",
        "api/too-long.py": "its schema is too large",
        "api/unicode.py": "its schema has a text that is not Unicode",
    }


async def test_code_that_uses_up_its_memory_is_ended_with_all_it_has_started(host: Host):
    hog = """
        import subprocess, sys
        sleep = [sys.executable, "-c", "import time; time.sleep(600)", "left-by-a-hog"]
        subprocess.Popen(sleep, start_new_session=True)
        kept = [b"x" * 1024**2 for _ in range(4 * 1024)]
    """
    manifest = await host.deploy({"api/a.py": api(""), "api/hog.py": api(hog), "api/z.py": api("")})
    assert (await schemas(host, manifest))["a"] == INTEGERS
    messages = {warning.file: warning.message.rpartition(": ")[2] for warning in manifest.warnings}
    ended = "the process that reads them was ended; its memory may have been used up"
    assert messages == {"api/hog.py": ended, "api/z.py": ended}
    assert [process for process in psutil.process_iter() if "left-by-a-hog" in present_cmdline(process)] == []


async def test_schemas_that_are_too_large_together_leave_out_the_later_ones(host: Host):
    large = "from typing import Literal\nL = dict[str, Literal[tuple(range(9_000))]]"
    names = [f"api{number}" for number in range(7)]
    manifest = await host.deploy({f"api/{name}.py": api(large, "L") for name in names})
    found = await schemas(host, manifest)
    kept = [name for name in names if found[name] is not None]
    assert kept == names[: len(kept)]
    assert 0 < len(kept) < len(names)
    assert {w.file for w in manifest.warnings} == {f"api/{name}.py" for name in names[len(kept) :]}
