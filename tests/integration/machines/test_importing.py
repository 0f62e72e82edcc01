"""What Attempts have imported of their project's own packages is imported ahead, if that has no other effect."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from callboard.machines.attempt_spec import PythonEnvironment
from tests.support.automations import automations
from tests.support.machines import Lab, value
from tests.support.package_index import FETCHED
from tests.support.repository import REPOSITORY

DRAWS = """
import random, secrets, ssl, uuid

own = random.Random(1)
own.gauss()  # the second of a pair is kept
ways = {
    "global": random.random,
    "own": own.random,
    "own, the second of a pair": own.gauss,
    "system": random.SystemRandom().random,
    "uuid": lambda: str(uuid.uuid4()),
    "secrets": secrets.token_hex,
    "OpenSSL": lambda: ssl.RAND_bytes(8).hex(),
}

def draw():
    return {name: way() for name, way in ways.items()}

draw()
"""
DRAWS_BY_NUMPY = """
import numpy

generator, legacy = numpy.random.default_rng(1), numpy.random.RandomState(1)
for each in (legacy, numpy.random):
    each.standard_normal()  # the second of a pair is kept
ways = {
    "generator": generator.random,
    "legacy, the second of a pair": legacy.standard_normal,
    "legacy": legacy.random,
    "global, the second of a pair": numpy.random.standard_normal,
    "global": numpy.random.random,
    **{kind.__name__: numpy.random.Generator(kind(1)).random for kind in (
        numpy.random.MT19937, numpy.random.PCG64, numpy.random.PCG64DXSM, numpy.random.Philox, numpy.random.SFC64
    )},
}

def draw():
    return {name: way() for name, way in ways.items()}
"""

PACKAGES = {
    "plain/__init__.py": "from plain import inner",
    "plain/inner.py": "value = 1",
    "threads.py": "import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
    "opens.py": "file = open(__file__)",
    "starts.py": "import subprocess; process = subprocess.Popen(['sleep', '60'])",
    "shares.py": "import mmap; memory = mmap.mmap(-1, 4096)",
    "locks.py": "import multiprocessing; lock = multiprocessing.Lock()",
    "handles.py": "import signal; signal.signal(signal.SIGUSR1, print)",
    "logs.py": "import logging; logging.basicConfig()",
    "asks.py": "import os; key = os.getenv('SHOP_KEY')",
    "changes.py": "import os; os.environ['CHANGED'] = 'x'",
    "fails.py": "1 / 0",
    "ends.py": "import os; os._exit(0)",
    "waits.py": "import time; time.sleep(60)",
    "draws.py": DRAWS,
}

SCRIPT = """
import ctypes, json, os, sys
from pathlib import Path

sys.path.append("runtime")  # as `callboard.machines.runner.main` does
from callboard.machines.runner import imports

ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # a child subreaper, as a zygote is

packages, names = Path(sys.argv[1]), json.loads(sys.argv[2])
imports._IMPORTED_WITHIN = float(sys.argv[3])
sys.path.insert(0, str(packages))
ahead = imports.Imports(packages)
ahead.freeze()
ahead.ahead(names, frozenset(["SHOP_KEY"]))
there = [name for name in names if name in sys.modules]
drawn = set()
if "draws" in there:
    for _ in range(3):
        reader, writer = os.pipe()
        if os.fork() == 0:
            ahead.reseed()
            os.write(writer, json.dumps(sys.modules["draws"].draw()).encode())
            os._exit(0)
        os.wait()
        drawn.update(json.loads(os.read(reader, 10_000)).items())
print(json.dumps({"there": there, "drawn": len(drawn), "threads": len(os.listdir("/proc/self/task"))}))
"""


def imported(folder: Path, *names: str, packages: Mapping[str, str] = PACKAGES, within: float = 2) -> dict[str, Any]:
    for path, source in packages.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(source)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), json.dumps(names), str(within)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # it starts threads as numpy is imported, if it may
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout)


def test_a_package_that_does_nothing_else_is_imported_with_its_modules(tmp_path: Path) -> None:
    assert imported(tmp_path, "plain", "plain.inner")["there"] == ["plain", "plain.inner"]


@pytest.mark.parametrize(
    "name",
    ["threads", "opens", "starts", "shares", "locks", "handles", "logs", "asks", "changes", "fails", "ends", "waits"],
)
def test_a_package_that_does_more_than_that_is_left_to_each_attempt(tmp_path: Path, name: str) -> None:
    assert imported(tmp_path, name, "plain") == {
        "there": [] if name == "waits" else ["plain"],
        "drawn": 0,
        "threads": 1,
    }


def test_what_is_not_of_the_projects_own_packages_is_not_imported(tmp_path: Path) -> None:
    assert imported(tmp_path, "wave", "nowhere_to_be_found")["there"] == []


def test_generators_of_random_numbers_are_reseeded_in_each_fork(tmp_path: Path) -> None:
    assert imported(tmp_path, "draws")["drawn"] == 3 * 7, "each way has given another number in each of three forks"


def test_those_of_numpy_are_reseeded_too(tmp_path: Path, packages: None) -> None:
    (wheel,) = FETCHED.glob(f"numpy-2*-cp{sys.version_info.major}{sys.version_info.minor}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    told = imported(tmp_path, "numpy", "draws", packages={"draws.py": DRAWS_BY_NUMPY}, within=60)
    assert told == {"there": ["numpy", "draws"], "drawn": 3 * 10, "threads": 1}


@pytest.fixture
def python(tmp_path: Path) -> PythonEnvironment:
    """A project's own environment, with a package beside those that every environment needs."""
    packages = tmp_path / "lib" / "python" / "site-packages"
    packages.mkdir(parents=True)
    installed = Path(sysconfig.get_path("platlib"))
    for name in ("playwright", "greenlet", "pyee", "typing_extensions.py", "idna"):
        (packages / name).symlink_to(installed / name)
    return PythonEnvironment(Path(sys.executable), packages)


IMPORTS = """
    import sys
    before = [name for name in params if name in sys.modules]
    for name in params:
        __import__(name)
    return before
"""
POISONS = """
    import importlib.util, sys, types
    found = [name for name in ("idna", "own", "made", "missing") if name in sys.modules]
    import idna, own
    found += ["patched"] if hasattr(idna, "patched") else []
    idna.patched = True
    for name in ("own", "made", "missing"):
        module = sys.modules.setdefault(name, types.ModuleType(name))
        module.__spec__ = importlib.util.spec_from_file_location(name, f"{params['packages']}/{name}.py")
    return found
"""


@pytest.mark.parametrize("api", ["imports", "poisons"])
async def test_the_next_attempt_finds_imported_what_the_last_one_imported(
    lab: Lab, python: PythonEnvironment, api: str
) -> None:
    """An Attempt cannot poison it."""
    pool, files = lab.pool(), {**automations(imports=IMPORTS, poisons=POISONS), "own.py": "", "made.py": ""}
    run = lab.runner(replace(lab.version(files), python=python), pool)
    for expected in ([], ["idna"], ["idna"]):
        given = ["idna", "own"] if api == "imports" else {"packages": str(python.site_packages)}
        assert value(await run(api, given)) == expected
        await lab.settled(pool)


async def test_a_variable_set_since_reaches_what_reads_it_as_it_is_imported(
    lab: Lab, python: PythonEnvironment
) -> None:
    (python.site_packages / "asks.py").write_text("import os; key = os.getenv('SHOP_KEY')")
    pool = lab.pool()
    asks = "import sys; before = 'asks' in sys.modules; import asks; return [before, asks.key]"
    run = lab.runner(replace(lab.version(automations(asks=asks)), python=python), pool)
    for variables, expected in (((), [False, None]), ((), [True, None])):
        assert value(await run("asks", variables=variables)) == expected
        await lab.settled(pool)
    for key in ("one", "two"):
        assert value(await run("asks", variables=(("SHOP_KEY", key),))) == [False, key]
        await lab.settled(pool)
