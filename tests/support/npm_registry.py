"""A registry of npm packages on loopback, with packages that tests make."""

from __future__ import annotations

import base64
import hashlib
import http.server
import io
import json
import ssl
import tarfile
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.certificates import Signed


@dataclass
class NpmRegistry:
    """What the registry has, and what it was asked for."""

    address: str
    token: str
    """What whoever may read anything signs in with."""
    asked: list[str] = field(default_factory=list[str])
    """The paths of all requests that were signed in."""
    archives: dict[str, bytes] = field(default_factory=dict[str, bytes])
    packages: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])

    def add(self, name: str, files: Mapping[str, str], version: str = "1.0.0", **more: Any) -> str:
        """Publish a package, and return its hash. `more` is for its package.json."""
        package = {"name": name, "version": version, "main": "index.js", **more}
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for path, text in {"package.json": json.dumps(package), **files}.items():
                entry = tarfile.TarInfo(f"package/{path}")
                entry.size = len(text.encode())
                archive.addfile(entry, io.BytesIO(text.encode()))
        place = f"/{name}/-/{name}-{version}.tgz"
        self.archives[place] = packed.getvalue()
        digest = base64.b64encode(hashlib.sha512(packed.getvalue()).digest()).decode()
        dist = {"tarball": f"{self.address}{place.removeprefix('/')}", "integrity": f"sha512-{digest}"}
        known = self.packages.setdefault(name, {"name": name, "versions": {}})
        known["versions"][version] = package | {"dist": dist}
        known["dist-tags"] = {"latest": version}
        return dist["integrity"]


@contextmanager
def npm_registry(token: str, tls: Signed) -> Generator[NpmRegistry]:
    """Serve a registry by TLS, for whoever has this token, for as long as the block lasts."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers["Authorization"] != f"Bearer {registry.token}":
                self._answer(401, b"{}")
                return
            registry.asked.append(self.path)
            found = registry.archives.get(self.path)
            if found is None and (package := registry.packages.get(self.path.strip("/"))) is not None:
                found = json.dumps(package).encode()
            self._answer(404 if found is None else 200, found or b"{}")

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is the library's
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.certificate, tls.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        registry = NpmRegistry(f"https://localhost:{server.server_port}/", token)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield registry
        finally:
            server.shutdown()
            thread.join()
