"""What uv needs of the operator's own configuration in its box, and how it is signed in without seeing credentials."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from callboard.projects import index_proxy
from callboard.projects.operator_index import read_operator_index
from callboard.projects.uv import ProjectUv, UvError
from tests.support.certificates import Authority
from tests.support.package_box import package_box
from tests.support.package_index import package_index
from tests.support.wheels import make_wheel

WORD = "w/o rd"
SIGNED_IN = f"me:{WORD}"
IN_ADDRESS = "me:w%2Fo%20rd"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of an operator who has told uv nothing yet."""
    for name in [name for name in os.environ if name.startswith(("UV_", "XDG_", "SSL_"))]:
        monkeypatch.delenv(name)
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def write_configuration(home: Path, text: str) -> Path:
    file = home / ".config" / "uv" / "uv.toml"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    return file


def test_indexes_are_found_in_variables_and_files(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_INDEX", f"ours=https://{IN_ADDRESS}@a.example/simple https://b.example:8443/x")
    monkeypatch.setenv("UV_FIND_LINKS", f"{home}/wheels,http://c.example:81/")
    monkeypatch.setenv("HTTPS_PROXY", "http://us:them@proxy.example:3128")
    monkeypatch.setenv("UV_INDEX_MY_E_USERNAME", "he")
    monkeypatch.setenv("UV_INDEX_MY_E_PASSWORD", "she")
    file = write_configuration(
        home,
        'index-url = "https://d.example/simple"\nfind-links = ["../more"]\n'
        '[[index]]\nname = "my-e"\nurl = "https://e.example"\n[pip]\nextra-index-url = ["https://it:is@f.example"]\n',
    )
    (home / ".netrc").write_text(
        "machine b.example login net password rc\nmachine github.example login me password two\n"
    )
    found = read_operator_index()
    assert found.places == {
        *(("a.example", 443), ("b.example", 8443), ("c.example", 81), ("d.example", 443), ("e.example", 443)),
        *(("f.example", 443), ("proxy.example", 3128)),
    }
    assert {file, home / "wheels", file.parent / "../more"} <= set(found.files)
    assert found.sign_in == {
        "indexes": [
            ("https://a.example/simple", ("me", WORD)),
            ("https://b.example:8443/x", ("net", "rc")),
            ("http://c.example:81/", None),
            ("https://e.example", ("he", "she")),
            ("https://d.example/simple", None),
            ("https://f.example", ("it", "is")),
        ],
        "variables": {"HTTPS_PROXY": "http://us:them@proxy.example:3128"},
    }
    assert found.cleaned == {file: file.read_text().replace("it:is@", "")}
    assert found.variables["UV_INDEX"] == "ours=https://a.example/simple https://b.example:8443/x"
    secrets = (WORD, IN_ADDRESS, "rc", "she", "them", "it:is")
    assert not [value for value in found.variables.values() if value in secrets or "@" in value]


def test_nothing_stands_between_uv_and_indexes_without_credentials(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://a.example/simple")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    (home / ".netrc").write_text("machine b.example login me password two\n")
    found = read_operator_index()
    assert found.sign_in is None
    assert found.variables["HTTPS_PROXY"] == "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("index-url = ", r"uv\.toml is not TOML: "),
        (
            'index-url = "https://it:is@f.example"\nhttps-proxy = "http://p"\n',
            r"uv\.toml names a proxy \(https-proxy\)",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_named(home: Path, text: str, said: str) -> None:
    write_configuration(home, text)
    with pytest.raises(ValueError, match=said):
        read_operator_index()


class _Noting(http.server.SimpleHTTPRequestHandler):
    """Another host, to which an index leads: it notes who asks."""

    def __init__(self, *args: Any, noted: list[str | None], **options: Any) -> None:
        self._noted = noted
        super().__init__(*args, **options)

    def do_GET(self) -> None:
        self._noted.append(self.headers["Authorization"])
        super().do_GET()

    do_HEAD = do_GET  # noqa: N815 - the name is the library's

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
        pass


@contextmanager
def serving(handler: Callable[..., http.server.BaseHTTPRequestHandler]) -> Generator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


async def resolve(home: Path, *requirements: str, **settings: Any) -> str:
    """What uv makes of these requirements in its box, for a project that has nothing else."""
    project = home / "project"
    project.mkdir(exist_ok=True)
    (project / "requirements.txt").write_text("\n".join([*requirements, ""]))
    python = Path(sys.executable)
    return await ProjectUv(package_box(**settings), home / "uv", build_packages=False).run(
        *("pip", "compile", "--quiet", "--no-header", "--no-annotate", "--python", python, "requirements.txt"),
        cwd=project,
        timeout=timedelta(seconds=60),
        python=python,
    )


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("told", ["address", "name", "netrc", "uv.toml"])
async def test_uv_in_its_box_is_signed_in_to_the_operator_s_index(
    home: Path, monkeypatch: pytest.MonkeyPatch, told: str, tls: bool
) -> None:
    make_wheel(home / "index", "beta", "1.0")
    authority = Authority(home / "authority")
    signed = authority.sign("index", "127.0.0.1") if tls else None
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with package_index(home / "index", signed_in=SIGNED_IN, tls=signed) as index:
        with_credentials = index.replace("://", f"://{IN_ADDRESS}@")
        match told:
            case "address":
                monkeypatch.setenv("UV_DEFAULT_INDEX", with_credentials)
            case "name":
                monkeypatch.setenv("UV_INDEX", f"ours={index}")
                monkeypatch.setenv("UV_INDEX_OURS_USERNAME", "me")
                monkeypatch.setenv("UV_INDEX_OURS_PASSWORD", WORD)
            case "netrc":
                monkeypatch.setenv("UV_DEFAULT_INDEX", index)
                (home / ".netrc").write_text(f'machine 127.0.0.1 login me password "{WORD}"\n')
            case _:
                write_configuration(home, f'[[index]]\nurl = "{with_credentials}"\ndefault = true\n')
        assert await resolve(home, "beta") == "beta==1.0\n"


@pytest.fixture
def demanding_proxy(home: Path) -> Iterator[str]:
    """The address, with its password, of a proxy of the operator's. One like ours wants a password, too."""
    command = [sys.executable, "-I", index_proxy.__file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"indexes": [], "variables": {}, "folder": str(home)}))
        process.stdin.close()
        yield json.loads(process.stdout.readline())["HTTPS_PROXY"]
        process.kill()


@pytest.mark.parametrize("tls", [False, True])
async def test_uv_reaches_indexes_by_an_operator_s_proxy_with_a_password(
    home: Path, monkeypatch: pytest.MonkeyPatch, demanding_proxy: str, tls: bool
) -> None:
    make_wheel(home / "index", "beta", "1.0")
    authority = Authority(home / "authority")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, demanding_proxy)
    with package_index(home / "index", tls=authority.sign("index", "localhost") if tls else None) as index:
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.replace("127.0.0.1", "localhost"))
        assert await resolve(home, "beta") == "beta==1.0\n"
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, demanding_proxy.replace("@", "x@"))
        with pytest.raises(UvError, match="407"):
            await resolve(home, "gamma")


async def test_credentials_stay_with_the_index_that_leads_elsewhere(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index may name files of another host, or redirect there; and a project names hosts of its own."""
    make_wheel(home / "elsewhere", "beta", "1.0")
    make_wheel(home / "elsewhere", "gamma", "1.0")
    noted: list[str | None] = []
    with serving(partial(_Noting, directory=home / "elsewhere", noted=noted)) as elsewhere:

        class Leading(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                wheel = self.path.rpartition("/")[2]
                page = f'<a href="{elsewhere}/beta-1.0-py3-none-any.whl">beta-1.0-py3-none-any.whl</a>'
                if self.path.startswith("/simple/gamma"):
                    page = '<a href="/gamma-1.0-py3-none-any.whl">gamma-1.0-py3-none-any.whl</a>'
                self.send_response(302 if wheel else 200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Location", f"{elsewhere}/{wheel}")
                self.end_headers()
                self.wfile.write(b"" if wheel else page.encode())

            do_HEAD = do_GET  # noqa: N815 - the name is the library's

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
                pass

        with serving(Leading) as index:
            monkeypatch.setenv("UV_DEFAULT_INDEX", f"{index.replace('://', f'://{IN_ADDRESS}@')}/simple")
            assert await resolve(home, "beta", "gamma", browser_allow=["127.0.0.1"]) == "beta==1.0\ngamma==1.0\n"
    assert noted
    assert set(noted) == {None}
