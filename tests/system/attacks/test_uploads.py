"""Whatever somebody with the scope `deploy` sends: nothing gets out of an upload, and api and worker go on."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import tarfile
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from tests.support.polling import until
from tests.support.processes import most_memory
from tests.system.attacks.installation import API_KEY, SEALING_KEY, Installation

MIB = 1024**2
MOST_MEMORY = 48 * MIB
"""Bytes by which the memory of an api or a worker may grow: an upload has up to 512 MiB."""
PROJECT = "sent"
GZIP = {"content-type": "application/gzip"}
FINE = {"Intuned.json": b"{}", "api/fine.py": b"async def automation(page, params=None, **_):\n    return 'fine'\n"}

pytestmark = pytest.mark.kinds("plain-open", "root-full")

Write = Callable[[BinaryIO], None]


def archive(*members: tuple[str, dict[str, Any]], files: dict[str, bytes] = FINE) -> Write:
    """An archive of a project that works, and of these members."""

    def write(out: BinaryIO) -> None:
        with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.PAX_FORMAT, compresslevel=1) as packed:
            for name, fields in (*((name, {"content": content}) for name, content in files.items()), *members):
                entry = tarfile.TarInfo(name)
                content: Any = fields.get("content", b"")
                for field, value in fields.items():
                    if field != "content":
                        setattr(entry, field, value)
                entry.size = len(content)
                packed.addfile(entry, io.BytesIO(content))

    return write


def zeros(mib: int) -> Write:
    def write(out: BinaryIO) -> None:
        with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=9) as packed:
            for _ in range(mib):
                packed.write(bytes(MIB))

    return write


def many_files(out: BinaryIO) -> None:
    archive(*((f"data/{number}", {}) for number in range(50_001)))(out)


def many_headers(out: BinaryIO) -> None:
    """Headers whose parts are read again and again, if somebody reads them to their end."""
    told = b"2 " * 100_000
    archive(*((f"x{number}", {"type": tarfile.XGLTYPE, "content": told}) for number in range(200)))(out)


def one_huge_header(out: BinaryIO) -> None:
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1) as packed:
        header = tarfile.TarInfo("x")
        header.type, header.size = tarfile.XHDTYPE, 1900 * MIB
        packed.write(header.tobuf())
        for _ in range(1900):
            packed.write(bytes(MIB))


def link(kind: bytes, target: str) -> dict[str, Any]:
    return {"type": kind, "linkname": target}


# What a single member may not be, tests/unit/projects/test_upload.py shows.
HOSTILE: dict[str, tuple[Write, int, str]] = {
    "zeros": (zeros(2100), 413, "more than 2,147,483,648 bytes"),
    "a large file of zeros": (archive(("zeros", {"content": bytes(300 * MIB)})), 200, "Keep data out of the project"),
    "a source of many statements": (
        archive(("helper.py", {"content": b"a;" * 1_000_000})),
        200,
        "helper.py: it is too",
    ),
    "a source of many lists": (
        archive(("helper.py", {"content": b"x = [" + b"[]," * 2_000_000 + b"]"})),
        200,
        "helper.py: it is too large",
    ),
    "an API of many statements": (
        archive(("api/x.py", {"content": b"a;" * 500_000})),
        200,
        "api/x.py: it is too large",
    ),
    "a large declaration": (
        archive(("pyproject.toml", {"content": b"x = [" + b"[]," * 4_000_000 + b"]"})),
        200,
        "pyproject.toml: expected at most 1,048,576 bytes",
    ),
    "50,001 files": (many_files, 413, "more than 50,000 files"),
    "a link out of it": (archive(("out", link(tarfile.SYMTYPE, "../../.."))), 400, "not a symbolic link"),
    "a link, and a file through it": (
        archive(("out", link(tarfile.SYMTYPE, "/tmp")), ("out/x", {"content": b"x"})),
        400,
        "'out': expected",
    ),
    "an absolute path": (archive(("/tmp/callboard-was-here", {})), 400, "not an absolute one"),
    "a path with ..": (archive(("api/../../../callboard-was-here", {})), 400, "that has no part .."),
    "a setuid file": (archive(("bin/su", {"mode": 0o6755, "uid": 0, "content": b"#!/bin/sh"})), 200, ""),
    "names that differ in case": (archive(("api/FINE.py", {"content": FINE["api/fine.py"]})), 200, ""),
    "settings of 100 MB": (archive(files={**FINE, "Intuned.json": b" " * 100 * MIB}), 400, "at most 131,072 bytes"),
    "settings of another project": (
        archive(files={**FINE, "Intuned.json": b'{"projectName": "victim"}'}),
        400,
        'expected "sent"',
    ),
    "many headers": (many_headers, 400, "is damaged"),
    "one huge header": (one_huge_header, 400, "a header in it is too long"),
}


async def send(installation: Installation, content: Any, project: str = PROJECT, **headers: str) -> Any:
    return await installation.rest.request("PUT", "", project=project, content=content, headers={**GZIP, **headers})


def in_pieces(file: Path) -> Any:
    async def pieces() -> Any:
        with file.open("rb") as opened:
            while piece := opened.read(MIB):
                yield piece

    return pieces()


async def deploy(installation: Installation, project: str = PROJECT) -> dict[str, Any]:
    """Deploy the latest upload, and return how that has ended."""
    await installation.rest.post("deploy", project=project)

    def has_ended(now: dict[str, Any]) -> bool:
        return now["status"] != "pending"

    return await installation.rest.until("deploy/result", has_ended, project=project)


@contextmanager
def nothing_else_changes(installation: Installation, tmp_path: Path) -> Generator[None]:
    """What the api keeps on the disk, and what is in the store of other projects, stays as it was."""

    def others() -> set[str]:
        kept = {str(path) for path in installation.data.glob("artifacts/projects/**/*") if PROJECT not in path.parts}
        kept |= {str(path) for path in installation.folder.glob("*")} | {
            str(path) for path in tmp_path.parent.glob("*")
        }
        return kept | {str(path) for path in Path("/tmp").glob("callboard-was*")}

    before = others()
    yield
    assert others() == before
    for folder in ("uploads", "deploys", "builds"):
        assert [each.name for each in (installation.data / folder).glob("*")] == []


@pytest.mark.kinds("root-full")  # An upload is read by the same process everywhere, which root's could harm most.
@pytest.mark.parametrize("what", HOSTILE)
async def test_an_upload_writes_nothing_elsewhere_and_costs_no_memory(
    installation: Installation, what: str, tmp_path: Path
) -> None:
    write, status, expected = HOSTILE[what]
    file = tmp_path / "upload"
    with file.open("wb") as out:
        write(out)
    pids = [installation.processes[name].pid for name in ("api", "worker")]
    await installation.still_works()
    memory = [most_memory(pid) for pid in pids]
    with nothing_else_changes(installation, tmp_path):
        answer = await send(installation, in_pieces(file))
        assert answer.status_code == status, answer.text
        if status == 200:
            ended = await deploy(installation)
            assert ended["status"] == ("failed" if expected else "completed"), ended
            assert expected in (ended.get("reason") or "")
        else:
            assert expected in answer.text.encode().decode("unicode_escape")
    assert all(most_memory(pid) - before < MOST_MEMORY for pid, before in zip(pids, memory, strict=True))
    for path in installation.data.glob(f"versions/{PROJECT}/*/bin/su"):
        assert path.stat().st_mode & 0o7000 == 0
    await installation.still_works()


async def test_patterns_that_take_centuries_hold_up_no_other_project(installation: Installation) -> None:
    names = {f"data/{'a' * 197}{number:03}": b"" for number in range(90)}
    hostile, fine = io.BytesIO(), io.BytesIO()
    archive(files={**FINE, **names, ".gitignore": b"*a" * 25 + b"b\n"})(hostile)
    archive()(fine)
    for project, content in (("one", hostile), ("two", hostile), (PROJECT, fine)):
        assert (await send(installation, content.getvalue(), project)).status_code == 200
    ended = await asyncio.gather(*(deploy(installation, project) for project in ("one", "two", PROJECT)))
    assert [each["status"] for each in ended] == ["failed", "failed", "completed"], ended
    assert all(each["reason"].startswith(".gitignore: to find out what it names takes") for each in ended[:2])


PACKAGES = {
    "a package that runs code when it is built": (
        {"pyproject.toml": '[project]\nname = "x"\nversion = "1"\ndependencies = ["evil @ file:./evil"]\n'},
        "pyproject.toml",
    ),
    "a build system in the project": (
        {
            "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "evil"\nbackend-path = ["."]\n'
            '[project]\nname = "x"\nversion = "1"\ndynamic = ["dependencies"]\n',
            "evil.py": "raise SystemExit(open('/proc/self/environ').read())\n",
        },
        "pyproject.toml",
    ),
    "a file of the host": ({"requirements.txt": "x @ file:///etc/passwd\n"}, "requirements.txt"),
    "an index on the host": (
        {"requirements.txt": "--index-url http://127.0.0.1:{port}/simple\nsix==1.16\n"},
        "requirements.txt",
    ),
    "a lock that leads to files": (
        {
            "pyproject.toml": '[project]\nname = "x"\nversion = "1"\ndependencies = ["six"]\n'
            '[tool.uv.sources]\nsix = { path = "/etc/passwd" }\n',
            "uv.lock": 'version = 1\nrequires-python = ">=3.12"\n[[package]]\nname = "six"\nversion = "1.16"\n'
            'source = { path = "/etc/passwd" }\n',
        },
        "uv.lock",
    ),
}


@pytest.mark.parametrize("what", PACKAGES)
async def test_packages_lead_nowhere(installation: Installation, what: str) -> None:
    files, named = PACKAGES[what]
    port = installation.environment["CALLBOARD_PORT"]
    whole = FINE | {name: text.replace("{port}", port).encode() for name, text in files.items()}
    out = io.BytesIO()
    archive(files=whole)(out)
    said = len(installation.log("api"))
    assert (await send(installation, out.getvalue())).status_code == 200
    ended = await deploy(installation)
    assert ended["status"] == "failed", ended
    assert named in ended["reason"]
    assert not [secret for secret in (API_KEY, SEALING_KEY, "root:") if secret in json.dumps(ended)], ended
    if installation.kind.isolation == "full":
        assert "/simple" not in installation.log("api")[said:]
    await installation.still_works()


async def deploy_key(installation: Installation) -> str:
    body = {"name": "ci", "scopes": ["deploy"], "projects": [PROJECT]}
    made = await installation.rest.http.post(f"/api/v1/workspace/{installation.rest.workspace}/keys", json=body)
    assert made.status_code == 201, made.text
    return made.json()["key"]


async def test_a_client_that_breaks_off_or_dawdles_holds_up_nobody(installation: Installation) -> None:
    path, port = installation.rest.path("", PROJECT), int(installation.environment["CALLBOARD_PORT"])
    head = (
        f"PUT {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {API_KEY}\r\ncontent-type: application/gzip\r\n"
        f"content-length: {{}}\r\n\r\n"
    )
    kept, out = installation.data / "uploads", io.BytesIO()
    archive()(out)
    async with AsyncExitStack() as slow:
        for _ in range(4):
            _, writer = await slow.enter_async_context(connected(port))
            writer.write(head.format(MIB).encode() + b"\x1f\x8b")
            await writer.drain()
        await until(lambda: len(list(kept.glob("*"))) == 2)
        assert (await send(installation, out.getvalue())).status_code == 503, "it holds up itself"
        other = await deploy_key(installation)
        assert (await send(installation, out.getvalue(), **{"x-api-key": other})).status_code == 200
        await installation.still_works()
    await until(lambda: list(kept.glob("*")) == [])
    async with connected(port) as (reader, writer):  # what is behind the body is no request
        writer.write(head.format(10).encode() + out.getvalue())
        assert b" 200 " not in await reader.readline()
    async with connected(port) as (reader, writer):
        writer.write(head.format(10**12).encode())
        assert b" 413 " in await reader.readline()
    await until(lambda: list(kept.glob("*")) == [])


@asynccontextmanager
async def connected(port: int) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_many_uploads_at_once_are_all_whole_or_refused(installation: Installation) -> None:
    out = io.BytesIO()
    archive(("data", {"content": os.urandom(4 * MIB)}))(out)
    answers = await asyncio.gather(*(send(installation, out.getvalue()) for _ in range(12)))
    stored = [answer.json()["id"] for answer in answers if answer.status_code == 200]
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert len(set(stored)) == len(stored) >= 2
    for upload in stored:
        kept = installation.data / "artifacts" / "uploads" / PROJECT / upload / "bundle.tar.gz"
        assert kept.read_bytes() == out.getvalue()
    assert (await deploy(installation))["status"] == "completed"
    assert list((installation.data / "uploads").glob("*")) == []


async def test_a_key_reaches_its_own_projects_only(installation: Installation) -> None:
    key = {"x-api-key": await deploy_key(installation)}
    out = io.BytesIO()
    archive()(out)
    for project in ("victim", "nobody"):
        path = installation.rest.path("", project)
        assert (
            await installation.rest.http.put(path, content=out.getvalue(), headers={**GZIP, **key})
        ).status_code == 404
        assert (await installation.rest.http.post(f"{path}/deploy", headers=key)).status_code == 404
        assert (await installation.rest.http.get(f"{path}/deploy/result", headers=key)).status_code == 404
    assert (await send(installation, out.getvalue(), **key)).status_code == 200
    assert not list(installation.data.glob("artifacts/uploads/victim*"))
