"""The commands that the pages for maintainers show can be given, and the files that they name are there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.repository import REPOSITORY

PAGES = {page: (REPOSITORY / page).read_text("utf-8") for page in ("CONTRIBUTING.md", "docs/architecture.md")}
BIN = Path(sys.executable).parent

FILE = re.compile(
    r"(?<![\w/.{-])(?:api|callboard|activities|workflows|runtime|tests|hosting|examples|docs)/[\w/.-]*[\w/]"
)
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[str]:
    """The commands of a page: lines of its blocks of shell, and what stands alone in backticks as one."""
    text = PAGES[page]
    lines = [
        line.partition("#")[0].strip()
        for kind, body in FENCE.findall(text)
        if kind == "sh"
        for line in body.split("\n")
    ]
    inline = re.findall(r"`((?:make|bash|\.venv/bin/\w+) [^`]+)`", FENCE.sub("", text))
    return [line for line in [*lines, *inline] if line]


def problems_of(command: str) -> list[str]:
    """Why the command cannot be what a page says it is: a target, program, file, test or option that is not there."""
    program, *arguments = shlex.split(command)
    found = [
        f"there is no {word}" for word in arguments if word.startswith("tests/") and not (REPOSITORY / word).exists()
    ]
    if program == "make":
        makefile = (REPOSITORY / "Makefile").read_text()
        targets = [word for word in arguments if not word.startswith("ARGS=")]
        found += [f"no target {word}" for word in targets if not re.search(rf"^{word}:", makefile, re.MULTILINE)]
        for word in set(arguments) - set(targets):  # make hands it to pytest
            found += problems_of(f".venv/bin/python -m pytest {word.removeprefix('ARGS=')}")
    elif program == "bash":
        found += [f"there is no {word}" for word in arguments if not (REPOSITORY / word).exists()]
    elif not (BIN / Path(program).name).exists():
        found.append(f"there is no {program}")
    elif arguments[:2] == ["-m", "pytest"] and "-k" in arguments:
        (file,) = [word for word in arguments if word.startswith("tests/")]
        wanted = arguments[arguments.index("-k") + 1]
        place = REPOSITORY / file
        if place.is_dir():  # of a room, some words
            names = " ".join(path.name for path in place.rglob("test_*.py"))
            found += [f"no file of {file} has {word} in its name" for word in wanted.split(" or ") if word not in names]
        elif not re.search(rf"^(?:async )?def {wanted}\(", place.read_text(), re.MULTILINE):
            found.append(f"there is no {wanted} in {file}")
    return found


@pytest.mark.parametrize("page", PAGES)
def test_every_command_can_be_given(page: str):
    assert {command: problems for command in commands(page) if (problems := problems_of(command))} == {}


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_is_named_is_there(page: str):
    named = set(FILE.findall(PAGES[page]))
    assert len(named) > 20
    assert sorted(name for name in named if not (REPOSITORY / name).exists()) == []


def test_the_commands_are_found():
    found = commands("CONTRIBUTING.md")
    assert {
        "make setup",
        "make histories",
        "make check",
        "make test",
        "make lock",
        "bash hosting/scripts/packages.sh",
    } <= {*found}
    assert len([command for command in found if " -m pytest " in command or "ARGS=" in command]) > 5


@pytest.mark.parametrize(
    "command",
    [
        "make no-such-target",
        "bash scripts/no-such-script.sh",
        ".venv/bin/no-such-program --help",
        ".venv/bin/python -m pytest tests/no_such_test.py",
        ".venv/bin/python -m pytest tests/system/docs/test_readme.py -k test_that_is_not_there",
    ],
)
def test_a_command_that_cannot_be_given_is_found(command: str):
    assert len(problems_of(command)) == 1


def test_the_embedded_stack_takes_the_options_that_are_shown():
    (command,) = [command for command in commands("CONTRIBUTING.md") if command.startswith(".venv/bin/callboard dev ")]
    done = subprocess.run([BIN / "callboard", "dev", "--help"], capture_output=True, text=True, timeout=60)
    assert all(word in done.stdout for word in shlex.split(command) if word.startswith("--"))
