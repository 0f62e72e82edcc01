"""What uv needs of the operator's own configuration in its box, and nothing else of it."""

from __future__ import annotations

import base64
import http.server
import os
import sys
import threading
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from projects.operator_index import read_operator_index
from projects.uv import ProjectUv
from tests.support.package_box import package_box
from tests.support.wheels import make_wheel


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of an operator who has told uv nothing yet."""
    for name in [name for name in os.environ if name.startswith(("UV_", "XDG_")) or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_indexes_are_found_in_variables_and_files(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_INDEX", "ours=https://me:word@a.example/simple https://b.example/x")
    monkeypatch.setenv("UV_FIND_LINKS", f"{home}/wheels,http://c.example:81/")
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
    file = home / ".config" / "uv" / "uv.toml"
    file.parent.mkdir(parents=True)
    file.write_text(
        'index-url = "https://d.example/simple"\nfind-links = ["../more"]\n'
        '[[index]]\nname = "e"\nurl = "https://e.example"\n[pip]\nextra-index-url = ["https://f.example"]\n'
    )
    (home / ".netrc").write_text(
        "machine a.example login me password one\nmachine github.example login me password two\n"
    )
    found = read_operator_index()
    assert found.hosts == {*(f"{letter}.example" for letter in "abcdef"), "proxy.example"}
    assert {file, home / "wheels", file.parent / "../more"} <= set(found.files)
    assert found.credentials == "machine a.example login me password one\n"


def test_a_file_that_cannot_be_read_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "uv.toml").write_text("index-url = ")
    monkeypatch.setenv("UV_CONFIG_FILE", str(home / "uv.toml"))
    with pytest.raises(ValueError, match=rf"^{home}/uv\.toml is not TOML: "):
        read_operator_index()


class _Asking(http.server.SimpleHTTPRequestHandler):
    """An index of one package, for whoever has the password."""

    def do_GET(self) -> None:
        if self.headers["Authorization"] != f"Basic {base64.b64encode(b'me:word').decode()}":
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.end_headers()
            return
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
        pass


async def test_uv_in_its_box_signs_in_to_the_operator_s_index_by_netrc(home: Path) -> None:
    page = home / "index" / "simple" / "beta" / "index.html"
    make_wheel(page.parent, "beta", "1.0")
    page.write_text('<a href="beta-1.0-py3-none-any.whl">beta-1.0-py3-none-any.whl</a>')
    project = home / "project"
    project.mkdir()
    (project / "requirements.txt").write_text("beta\n")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Asking, directory=home / "index")) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            (home / ".config" / "uv").mkdir(parents=True)
            (home / ".config" / "uv" / "uv.toml").write_text(
                f'[[index]]\nurl = "http://127.0.0.1:{server.server_port}/simple"\ndefault = true\n'
            )
            (home / ".netrc").write_text("machine 127.0.0.1 login me password word\n")
            python = Path(sys.executable)
            listed = await ProjectUv(package_box(), home / "uv", build_packages=False).run(
                *("pip", "compile", "--quiet", "--no-header", "--no-annotate", "--python", python, "requirements.txt"),
                cwd=project,
                timeout=timedelta(seconds=60),
                python=python,
            )
        finally:
            server.shutdown()
            thread.join()
    assert listed == "beta==1.0\n"
