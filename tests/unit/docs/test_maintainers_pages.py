"""What the pages for maintainers name is there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.repository import REPOSITORY

PAGES = {
    page: (REPOSITORY / page).read_text("utf-8") for page in ("CONTRIBUTING.md", "docs/architecture.md", "README.md")
}
MAINTAINERS_PAGES = ("CONTRIBUTING.md", "docs/architecture.md")
BIN = Path(sys.executable).parent

FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
ROOMS = [path.parent.name for path in REPOSITORY.glob("*/__init__.py")] + ["docs", "tests", "scripts", "runtime"]
A_PATH = re.compile(rf"(?<![\w./~-])(?:(?:{'|'.join(ROOMS)})/[\w./*-]*|[\w-]+\.(?:py|toml|yml|md|lock)\b)")
A_NAME = re.compile(r"\b(?:[A-Z]+[a-z]+){2,}\b|\b[A-Z]{2,}_[A-Z_]+\b")
"""Of a class or of a constant."""
ELSEWHERE = {"projects/", "my-projects/hello/Intuned.jsonc", "my-projects/hello/api/title.py"}
"""Paths in the artifact store, and in a folder of the reader's own."""
MODULES = {path.name for room in ROOMS for path in (REPOSITORY / room).rglob("*.*")}


def code_of(text: str) -> list[str]:
    """What stands in backticks within a line, or in a diagram."""
    diagrams = [body for kind, body in FENCE.findall(text) if not kind]
    return re.findall(r"`([^`\n]+)`", FENCE.sub("", text)) + diagrams


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


@pytest.mark.parametrize("page", MAINTAINERS_PAGES)
def test_every_command_can_be_given(page: str):
    assert {command: problems for command in commands(page) if (problems := problems_of(command))} == {}


def test_the_commands_are_found():
    found = commands("CONTRIBUTING.md")
    assert {"make setup", "make histories", "make check", "make test", "make lock", "bash scripts/packages.sh"} <= {
        *found
    }
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


def paths(text: str) -> set[str]:
    """The files and folders of the repository that stand in backticks, or in a diagram."""
    return {path for code in code_of(text) for path in A_PATH.findall(code)} - ELSEWHERE


def is_there(path: str) -> bool:
    """Whether there is such a path, or, of a bare name, a file of that name in some folder."""
    return any(REPOSITORY.glob(path.rstrip("/"))) or ("/" not in path and path in MODULES)


@pytest.mark.parametrize("page", PAGES)
def test_every_path_that_is_named_is_there(page: str):
    assert [path for path in paths(PAGES[page]) if not is_there(path)] == []


def test_the_paths_are_found():
    assert {"workflows/run.py", "temporal/run_status.py", "machines/runner/", "share.py"} <= paths(
        "`workflows/run.py` `temporal/run_status.py` `machines/runner/` `share.py` `projects/{name}/current.json`"
    )
    assert len(paths(PAGES["docs/architecture.md"])) > 40
    assert not is_there("workflows/no_such_module.py")
    assert not is_there("no_such_module.py")


@pytest.mark.parametrize("page", MAINTAINERS_PAGES)
def test_every_name_of_the_code_that_is_named_is_there(page: str):
    named = {name for code in code_of(PAGES[page]) for name in A_NAME.findall(code)}
    code = " ".join(path.read_text() for room in ROOMS for path in (REPOSITORY / room).rglob("*.py"))
    assert len(named) > 3
    assert [name for name in sorted(named) if not re.search(rf"\b{name}\b", code)] == []


@pytest.mark.parametrize("row", re.findall(r"^\|.*\| (`tests/.*) \|$", PAGES["docs/architecture.md"], re.MULTILINE))
def test_the_tests_that_show_a_promise_are_there(row: str):
    for shown in row.split("; "):
        file, *tests = re.findall(r"`([^`]+)`", shown)
        text = (REPOSITORY / file).read_text()
        assert [test for test in tests if not re.search(rf"^(?:async )?def {test}\(", text, re.MULTILINE)] == []
