"""What others have written is read in one bounded process, whatever it is."""

from __future__ import annotations

import json
import socket
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from callboard import projects, storage
from callboard.machines.box import box_refusal
from callboard.machines.reading_box import reading_command
from callboard.projects import bounded
from callboard.projects.bounded import run_bounded
from callboard.projects.declaration import read_declaration
from callboard.projects.processes import run_process
from callboard.projects.upload import pack_upload
from callboard.schemas.errors import ProjectError
from tests.support.project_folders import Deployed, Make

LOOK = """
import json, os, resource, socket, sys
from pathlib import Path
from callboard.projects.reading import bound_process
bound_process()
file, port = Path(sys.argv[1]), int(sys.argv[2])
def reached():
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True
print(json.dumps({
    "memory": resource.getrlimit(resource.RLIMIT_AS)[1], "score": Path("/proc/self/oom_score_adj").read_text().strip(),
    "variables": sorted(os.environ), "read": file.read_text(), "beside": file.with_name("secret").exists(),
    "reached": reached(),
}))
"""


async def test_the_process_is_bounded_and_its_box_has_only_what_it_reads(tmp_path: Path):
    for name in ("read", "secret"):
        (tmp_path / name).write_text(name)
    modules = [Path(package.__path__[0]) for package in (projects, storage)]
    with socket.create_server(("127.0.0.1", 0)) as server:
        script = [sys.executable, "-I", "-c", LOOK, str(tmp_path / "read"), str(server.getsockname()[1])]
        command = reading_command(script, modules=modules, read=[tmp_path / "read"], write=[])
        ended = await run_process(command, cwd=Path("/"), environment={"LANG": "C.UTF-8"}, timeout=timedelta(minutes=1))
    assert ended.code == 0, ended.stderr
    seen = json.loads(ended.stdout)
    assert (seen["memory"], seen["score"], seen["read"]) == (512 * 1024**2, "1000", "read")
    assert set(seen["variables"]) <= {"LANG", "LC_CTYPE", "PWD"}
    outside = box_refusal() is not None
    assert (seen["beside"], seen["reached"]) == (outside, outside)


@pytest.mark.parametrize("source", ["a;" * 1_000_000, f"x = [{'[],' * 2_000_000}]"], ids=["statements", "lists"])
async def test_a_source_that_takes_too_much_memory_is_refused_at_the_deploy(
    make_project: Make, deployed: Deployed, source: str
):
    with pytest.raises(ProjectError) as error:
        await deployed({"helper.py": source})
    assert error.value.message == (
        "helper.py: it is too large: what is made of it when it is read takes more than 512 MiB."
    )


async def test_what_takes_too_long_is_refused(make_project: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bounded, "WITHIN", timedelta(milliseconds=1))
    folder = make_project()
    with pytest.raises(ProjectError, match="It cannot be read within"):
        await run_bounded(pack_upload, folder, tmp_path / "upload", read=[folder], write=[tmp_path])


async def test_what_ends_the_process_is_refused(make_project: Make, tmp_path: Path):
    folder = make_project({"pyproject.toml": f"x = {'[' * 900_000}"})
    with pytest.raises(ProjectError, match="breaks a parser: RecursionError"):
        await run_bounded(read_declaration, folder, None, read=[folder])
