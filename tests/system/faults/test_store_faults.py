"""An artifact store that cannot be written: nothing that was accepted is lost, and nothing is executed twice."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import pytest

from callboard.schemas.workflow.base import INLINE_LIMIT
from tests.support.polling import until
from tests.support.repository import REPOSITORY
from tests.support.stack import Stack

pytestmark = pytest.mark.timeout(240)

BIG = 2 * INLINE_LIMIT


class Fault(Protocol):
    """What can be wrong with the store, and put right again."""

    def breaks(self) -> None: ...
    def mends(self) -> None: ...


@dataclass
class Unwritable:
    """Where Runs leave their files there is a file. No rights are needed for that, and root is held up by it too."""

    artifacts: Path

    def breaks(self) -> None:
        for name in ("runs", "check"):
            folder = self.artifacts / name
            if folder.exists():
                folder.rename(self.artifacts / f"{name}.aside")
            folder.touch()

    def mends(self) -> None:
        for name in ("runs", "check"):
            aside = self.artifacts / f"{name}.aside"
            (self.artifacts / name).unlink()
            if aside.exists():
                aside.rename(self.artifacts / name)


@dataclass
class ReadOnly:
    """The file system of the store is mounted read-only, as kernels do it after an error of the disk."""

    artifacts: Path

    def breaks(self) -> None:
        mount("-o", "remount,ro", str(self.artifacts))

    def mends(self) -> None:
        mount("-o", "remount,rw", str(self.artifacts))


@dataclass
class Full:
    """No space is left."""

    artifacts: Path

    def breaks(self) -> None:
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            fill(self.artifacts / "filler")

    def mends(self) -> None:
        (self.artifacts / "filler").unlink()


def fill(path: Path) -> None:
    """Write into this file until the file system refuses."""
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True, timeout=10)


@dataclass(frozen=True)
class Artifacts:
    """The folder of the store."""

    folder: Path
    not_mounted: str = ""
    """Why it has no file system of its own."""


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Generator[Artifacts]:
    """On a small file system of its own, if one can be mounted."""
    folder = tmp_path_factory.mktemp("faulty-store") / "data" / "artifacts"
    folder.mkdir(parents=True)
    if os.geteuid() != 0 or shutil.which("mount") is None:
        yield Artifacts(folder, "only root can mount the file system whose faults these are")
        return
    try:
        mount("-t", "tmpfs", "-o", "size=16m", "callboard-test", str(folder))
    except subprocess.CalledProcessError as error:
        yield Artifacts(folder, f"no file system can be mounted here: {error.stderr.decode().strip()}")
        return
    yield Artifacts(folder)
    subprocess.run(["umount", str(folder)], check=True, capture_output=True, timeout=10)


@pytest.fixture(scope="module")
async def stack(artifacts: Artifacts, site: str) -> AsyncGenerator[Stack]:
    """A stack of its own, whose store is in order when a test begins."""
    folder = artifacts.folder.parents[1]
    shutil.copytree(REPOSITORY / "tests" / "system" / "projects" / "lab", folder / "projects" / "lab")
    async with Stack.up(folder, folder / "projects", site) as stack:
        yield stack


@dataclass
class Broken:
    """The fault, for as long as a block lasts, or until it is put right."""

    fault: Fault
    now: bool = False

    def __enter__(self) -> Self:
        self.fault.breaks()
        self.now = True
        return self

    def __exit__(self, *exception: object) -> None:
        if self.now:
            self.mend()

    def mend(self) -> None:
        self.fault.mends()
        self.now = False


@pytest.fixture(params=[Unwritable, ReadOnly, Full])
def broken(request: pytest.FixtureRequest, artifacts: Artifacts) -> Broken:
    if artifacts.not_mounted and request.param is not Unwritable:
        pytest.skip(artifacts.not_mounted)
    return Broken(request.param(artifacts.folder))


async def ready(stack: Stack) -> tuple[int, dict[str, Any]]:
    answer = await stack.http.get("/readyz")
    return answer.status_code, answer.json()


def record(stack: Stack, run_id: str) -> dict[str, Any]:
    """Of the first Attempt."""
    place = stack.data / "artifacts" / "runs" / "lab" / run_id / "attempts" / "1" / "attempt.json"
    return json.loads(place.read_text())


async def test_a_result_waits_for_the_store_and_is_not_computed_again(
    stack: Stack, broken: Broken, tmp_path: Path
) -> None:
    sizes = {"small": 2, "big": BIG}
    run_ids: dict[str, str] = {}
    for name, size in sizes.items():
        run_ids[name] = await stack.start("counted-big", {"folder": str(tmp_path), "name": name, "size": size})
    await until(lambda: len(list(tmp_path.glob("*-began-*"))) == 2)
    with broken:
        (tmp_path / "go").touch()
        await until(lambda: len(list(tmp_path.glob("*-ends-*"))) == 2)
        held = await stack.result(run_ids["small"], wait=3)  # it may wait so long; that it does is the point
        assert held["status"] == (await stack.result(run_ids["big"], wait=0))["status"] == "started"
        broken.mend()
        for name, run_id in run_ids.items():
            answer = await stack.result(run_id)
            assert (answer["status"], answer.get("result")) == ("completed", "x" * sizes[name]), answer
            assert record(stack, run_id)["status"] == "completed"
    assert len(list(tmp_path.glob("*-began-*"))) == 2


async def test_meanwhile_readiness_tells_of_it_and_runs_begin_and_are_canceled(
    stack: Stack, broken: Broken, tmp_path: Path
) -> None:
    with broken:
        status, body = await ready(stack)
        assert (status, body["status"], body["store"]["status"]) == (503, "not-ready", "failed")
        assert "artifact store" in body["store"]["message"]
        assert body["temporal"]["status"] == "ok"
        run_id = await stack.start("counted-big", {"folder": str(tmp_path), "name": "run", "size": 2})
        await until(lambda: list(tmp_path.glob("run-began-*")))
        assert (await stack.cancel(run_id))["status"] == "canceled"
    assert len(list(tmp_path.glob("run-began-*"))) == 1
    status, body = await ready(stack)
    assert (status, body["store"]["status"]) == (200, "ok")


async def test_what_must_be_kept_before_it_is_started_is_refused(stack: Stack, broken: Broken, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    parameters = {"folder": str(tmp_path), "name": "run", "size": 2, "bulk": "x" * BIG}
    body = {"api": "counted-big", "parameters": parameters}
    headers = {"Idempotency-Key": f"while-{type(broken.fault).__name__}"}
    with broken:
        refused = await stack.request("POST", "run/start", json=body, headers=headers)
        assert refused.status_code == 500, refused.text
        assert refused.json()["retirable"] is True
        assert "artifact store" in refused.json()["message"]
    assert list(tmp_path.glob("run-began-*")) == []
    accepted = await stack.request("POST", "run/start", json=body, headers=headers)
    assert accepted.status_code == 201, accepted.text
    assert (await stack.result(accepted.json()["runId"]))["status"] == "completed"
    assert len(list(tmp_path.glob("run-began-*"))) == 1


async def test_no_half_written_file_is_left(stack: Stack) -> None:
    """Last: of all that was refused above."""
    assert [path for path in (stack.data / "artifacts").rglob(".*") if path.is_file()] == []
