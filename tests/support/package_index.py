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
_DRIVER = "playwright/driver/"
"""Where Playwright's wheel has its driver."""


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


def _write_light_packages(folder: Path) -> None:
    """Fill a folder with the fetched wheels, and with Playwright's without its driver.

    The driver is nearly all of Playwright, and each environment would have a copy of it. But what Machines start is the
    driver of Callboard's own Playwright; that of an environment is for user code that starts one itself.
    """
    for wheel in FETCHED.glob("*.whl"):
        if parse_wheel_filename(wheel.name)[0] == "playwright":
            _copy_without(_DRIVER, wheel, folder / wheel.name)
        else:
            (folder / wheel.name).symlink_to(wheel)


def _copy_without(left_out: str, wheel: Path, copy: Path) -> None:
    with zipfile.ZipFile(wheel) as whole, zipfile.ZipFile(copy, "w", zipfile.ZIP_DEFLATED) as light:
        for file in whole.infolist():
            if not file.filename.startswith(left_out):
                content = whole.read(file)
                if file.filename.endswith(".dist-info/RECORD"):
                    listed = content.decode().splitlines(keepends=True)
                    content = "".join(line for line in listed if not line.startswith(left_out)).encode()
                light.writestr(file, content)


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """From here on, uv installs from an index of this host, here and in processes that are started here.

    Whatever else the environment tells uv does not count, nor what it has in its cache: it is the same everywhere.
    Playwright has no driver there.
    """
    if not FETCHED.is_dir():
        pytest.fail("This needs packages to install. `bash scripts/packages.sh` fetches them.")
    light, cache = tmp_path_factory.mktemp("packages"), tmp_path_factory.mktemp("uv-cache")
    _write_light_packages(light)
    with package_index(light) as index, pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith("UV_")]:
            environment.delenv(name)
        environment.setenv("UV_DEFAULT_INDEX", index)
        environment.setenv("UV_CACHE_DIR", str(cache))
        for name in ("NO_PROXY", "no_proxy"):
            environment.setenv(name, "127.0.0.1", prepend=",")
        yield
    shutil.rmtree(cache)


@pytest.fixture
def whole_playwright(packages: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The same with Playwright as it was fetched: with its driver."""
    with package_index(FETCHED) as index:
        monkeypatch.setenv("UV_DEFAULT_INDEX", index)
        yield
