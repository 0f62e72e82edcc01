"""What Attempts have imported of their project's own packages is imported ahead, if that has no other effect."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path

import pytest

from machines.attempt_spec import PythonEnvironment
from tests.support.machines import Lab, attempt_spec, settled, unnoticed, value

REPOSITORY = Path(__file__).parents[2]

PACKAGES = {
    "plain/__init__.py": "from plain import inner",
    "plain/inner.py": "value = 1",
    "threads.py": "import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
    "opens.py": "file = open(__file__)",
    "starts.py": "import subprocess; process = subprocess.Popen(['sleep', '60'])",
    "handles.py": "import signal; signal.signal(signal.SIGUSR1, print)",
    "logs.py": "import logging; logging.basicConfig()",
    "changes.py": "import os; os.environ['CHANGED'] = 'x'",
    "fails.py": "1 / 0",
    "ends.py": "import os; os._exit(0)",
    "waits.py": "import time; time.sleep(60)",
    "draws.py": "import random; generator = random.Random(1); first = generator.random()",
}

SCRIPT = """
import ctypes, json, os, sys
from pathlib import Path
from machines.runner import importing

ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # a child subreaper, as a zygote is

packages, names = Path(sys.argv[1]), json.loads(sys.argv[2])
importing._WITHIN = 2.0
sys.path.insert(0, str(packages))
imports = importing.Imports(packages)
imports.settle()
imports.ahead(names)
there = [name for name in names if name in sys.modules]
drawn = set()
if "draws" in there:
    for _ in range(3):
        reader, writer = os.pipe()
        if os.fork() == 0:
            imports.reseed()
            os.write(writer, str(sys.modules["draws"].generator.random()).encode())
            os._exit(0)
        os.wait()
        drawn.add(os.read(reader, 100).decode())
print(json.dumps({"there": there, "drawn": len(drawn), "threads": len(os.listdir("/proc/self/task"))}))
"""


def imported(folder: Path, *names: str) -> dict[str, object]:
    for path, source in PACKAGES.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(source)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), json.dumps(names)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout)


def test_a_package_that_does_nothing_else_is_imported_with_its_modules(tmp_path: Path) -> None:
    assert imported(tmp_path, "plain", "plain.inner")["there"] == ["plain", "plain.inner"]


@pytest.mark.parametrize("name", ["threads", "opens", "starts", "handles", "logs", "changes", "fails", "ends", "waits"])
def test_a_package_that_does_more_than_that_is_left_to_each_attempt(tmp_path: Path, name: str) -> None:
    assert imported(tmp_path, name, "plain") == {
        "there": [] if name == "waits" else ["plain"],
        "drawn": 0,
        "threads": 1,
    }


def test_what_is_not_of_the_projects_own_packages_is_not_imported(tmp_path: Path) -> None:
    assert imported(tmp_path, "wave", "nowhere_to_be_found")["there"] == []


def test_generators_of_random_numbers_are_reseeded_in_each_fork(tmp_path: Path) -> None:
    assert imported(tmp_path, "draws")["drawn"] == 3


async def test_the_next_attempt_finds_imported_what_the_last_one_has_imported(lab: Lab, tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "python" / "site-packages"
    packages.mkdir(parents=True)
    installed = Path(sysconfig.get_path("platlib"))
    for name in ("playwright", "greenlet", "pyee", "typing_extensions.py", "idna"):
        (packages / name).symlink_to(installed / name)
    source = """
        import sys

        async def automation(page, params):
            before = [name for name in params if name in sys.modules]
            for name in params:
                __import__(name)
            return before
    """
    python = PythonEnvironment(Path(sys.executable), packages)
    version = replace(lab.version({"api/imports.py": source, "own.py": ""}), python=python)
    pool = lab.pool()
    for expected in ([], ["idna"], ["idna"]):
        assert value(await pool.run(version, attempt_spec("imports", ["idna", "own"]), unnoticed)) == expected
        await settled(pool)
