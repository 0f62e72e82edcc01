"""A package index on loopback, of what `hosting/scripts/packages.sh` has fetched, as PEP 503 and PEP 714 have it."""

from __future__ import annotations

import base64
import hashlib
import html
import http.server
import os
import shutil
import ssl
import threading
import zipfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import parse_sdist_filename, parse_wheel_filename

from tests.support.certificates import Signed
from tests.support.repository import REPOSITORY

FETCHED = REPOSITORY / ".venv" / "packages"
_DRIVER = "playwright/driver/"
"""Where Playwright's wheel has its driver."""


class _Index(http.server.SimpleHTTPRequestHandler):
    """Answers `/simple/{package}/`, `/{wheel}`, `/{wheel}.metadata` and `/{source distribution}`."""

    def __init__(self, *args: Any, signed_in: str | None = None, **options: Any) -> None:
        self._signed_in = signed_in
        """The user and the password of whoever may read anything; None: everybody may."""
        super().__init__(*args, **options)

    def do_GET(self) -> None:
        if self._signed_in and self.headers["Authorization"] != _basic(self._signed_in):
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.end_headers()
            return
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
    """All wheels and source distributions of a package; empty if there are none."""
    wheels = [path for path in sorted(folder.glob("*.whl")) if parse_wheel_filename(path.name)[0] == package]
    links = [
        f'<a href="/{html.escape(wheel.name)}#sha256={_digest(wheel)}" data-core-metadata="true">{wheel.name}</a>'
        for wheel in wheels
    ]
    sources = [path for path in sorted(folder.glob("*.tar.gz")) if parse_sdist_filename(path.name)[0] == package]
    links += [f'<a href="/{source.name}#sha256={_digest(source)}">{source.name}</a>' for source in sources]
    return "\n".join(links).encode()


def _basic(signed_in: str) -> str:
    return f"Basic {base64.b64encode(signed_in.encode()).decode()}"


@cache
def _digest(package: Path) -> str:
    with package.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _metadata(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as contents:
        name = next(name for name in contents.namelist() if name.endswith(".dist-info/METADATA"))
        return contents.read(name)


@contextmanager
def package_index(folder: Path, *, signed_in: str | None = None, tls: Signed | None = None) -> Generator[str]:
    """The address of an index of the packages in `folder`, for whoever has this user and password (`user:password`)."""
    handler = partial(_Index, directory=str(folder), signed_in=signed_in)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.certificate, tls.key)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http{'' if tls is None else 's'}://127.0.0.1:{server.server_port}/simple"
        finally:
            server.shutdown()
            thread.join()


def _write_light_packages(folder: Path) -> None:
    """Fill a folder with what was fetched, and with Playwright's wheels without its driver.

    The driver is nearly all of Playwright, and each environment would have a copy of it. But what Machines start is the
    driver of Callboard's own Playwright; that of an environment is for user code that starts one itself.
    """
    for package in (*FETCHED.glob("*.whl"), *FETCHED.glob("*.tar.gz")):
        if package.name.startswith("playwright-"):
            _copy_without(_DRIVER, package, folder / package.name)
        else:
            (folder / package.name).symlink_to(package)


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
        pytest.fail("This needs packages to install. `bash hosting/scripts/packages.sh` fetches them.")
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
