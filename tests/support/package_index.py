"""A package index on loopback, of the wheels that `scripts/packages.sh` has fetched, as PEP 503 and PEP 714 have it."""

from __future__ import annotations

import hashlib
import html
import http.server
import os
import shutil
import threading
import zipfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

import pytest
from packaging.utils import parse_wheel_filename

from tests.support.repository import REPOSITORY

FETCHED = REPOSITORY / ".venv" / "packages"


class _Index(http.server.SimpleHTTPRequestHandler):
    """Answers `/simple/{package}/`, `/{wheel}` and `/{wheel}.metadata`."""

    def do_GET(self) -> None:
        parts = self.path.strip("/").split("/")
        wheel = Path(self.directory, parts[-1].removesuffix(".metadata"))
        if parts[0] == "simple":
            self._answer("text/html", _page(Path(self.directory), parts[-1]))
        elif parts[-1].endswith(".metadata") and wheel.is_file():
            self._answer("text/plain", _metadata(wheel))
        else:
            super().do_GET()

    def _answer(self, kind: str, body: bytes) -> None:
        if not body:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
        pass


def _page(folder: Path, package: str) -> bytes:
    """All wheels of a package; empty if there are none."""
    wheels = [path for path in sorted(folder.glob("*.whl")) if parse_wheel_filename(path.name)[0] == package]
    links = [
        f'<a href="/{html.escape(wheel.name)}#sha256={_digest(wheel)}" data-core-metadata="true">{wheel.name}</a>'
        for wheel in wheels
    ]
    return "\n".join(links).encode()


@cache
def _digest(wheel: Path) -> str:
    with wheel.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _metadata(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as contents:
        name = next(name for name in contents.namelist() if name.endswith(".dist-info/METADATA"))
        return contents.read(name)


@contextmanager
def package_index(folder: Path) -> Generator[str]:
    """The address of an index of the wheels in `folder`."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Index, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/simple"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """From here on, uv installs from an index of this host, here and in processes that are started here.

    Whatever else the environment tells uv does not count, nor what it has in its cache: it is the same everywhere.
    """
    if not FETCHED.is_dir():
        pytest.fail("This needs packages to install. `bash scripts/packages.sh` fetches them.")
    cache = tmp_path_factory.mktemp("uv-cache")
    with package_index(FETCHED) as index, pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith("UV_")]:
            environment.delenv(name)
        environment.setenv("UV_DEFAULT_INDEX", index)
        environment.setenv("UV_CACHE_DIR", str(cache))
        for name in ("NO_PROXY", "no_proxy"):
            environment.setenv(name, "127.0.0.1", prepend=",")
        yield
    shutil.rmtree(cache)
