"""Every command that these pages show is typed by a test, or stands here with the reason why none types it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import doc_commands
from tests.support.doc_commands import Block
from tests.support.repository import REPOSITORY

PAGES = (
    "README.md",
    "docs/backup.md",
    "docs/cli.md",
    "docs/configure.md",
    "docs/debug.md",
    "docs/install.md",
    "docs/isolation.md",
    "docs/jobs.md",
    "docs/monitor.md",
    "docs/projects.md",
    "docs/several-hosts.md",
    "docs/troubleshooting.md",
    "docs/upgrade.md",
)
NO_ENGINE = "There is no container engine; tests/system/test_compose_stack.py runs what these services are without one."
NOT_TYPED = {
    ("docs/debug.md", r"callboard run .*--headful .*"): "Nobody closes the window that it leaves open.",
    (
        "docs/debug.md",
        r"uv pip install .* debugpy|callboard run .*--debugpy .*|callboard run .* --inspect",
    ): "It waits for a person's editor.",
    ("README.md", r"make demo"): "tests/system/test_demo.py runs the demo.",
    ("README.md", r"make test"): "It would run this test.",
    (
        "README.md",
        r"uv tool install .*|callboard (setup|dev .*)|mkdir my-projects && .*",
    ): "tests/system/test_wheel.py does the same in an environment that it makes.",
    ("README.md", r"\.venv/bin/callboard dev my-projects"): "tests/support/dev_terminal.py gives this command.",
    ("docs/install.md", r"(mkdir|docker) .*"): NO_ENGINE,
    ("docs/install.md", r"(export|/opt/callboard/bin/callboard) .*"): "tests/system/test_wheel.py does the same.",
    ("docs/install.md", r"sudo .*"): "They set a host up. tests/integration/test_systemd_units.py looks at the units.",
    (
        "docs/backup.md",
        r"BACKUP=.*|sudo .*",
    ): "They need a running systemd. tests/system/test_backup.py executes what the unit does, and restores it.",
    ("docs/monitor.md", r"docker compose .*"): NO_ENGINE,
    ("docs/isolation.md", r"docker run .*"): NO_ENGINE,
    (
        "docs/several-hosts.md",
        r"callboard worker --role .*",
    ): "They run until they are stopped: tests/system/test_roles.py.",
    (
        "docs/upgrade.md",
        r"(CALLBOARD_BUILD_ID=\S+ callboard worker|temporal worker deployment .*)",
    ): "They need workers of two builds: tests/system/test_builds.py.",
    ("docs/backup.md", r"(aws s3 sync|rclone copy store:bucket/).*"): "They need a bucket of AWS.",
}


def calls_of_typed(source: str) -> Iterator[tuple[str, str | None]]:
    """Yield page and heading of each call of `doc_commands.typed` in the source of a test."""
    if "doc_commands.typed" not in source:
        return  # To parse all tests would take a second.
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "doc_commands.typed":
            page, *rest = [ast.literal_eval(argument) for argument in node.args]
            yield page, rest[0] if rest else None


def typed_blocks() -> Iterator[Block]:
    for file in (REPOSITORY / "tests").rglob("test_*.py"):
        if file != Path(__file__):
            for page, heading in calls_of_typed(file.read_text()):
                yield from doc_commands.typed(page, heading)


def bare(command: str) -> str:
    """A command without its remark."""
    return re.sub(r"\s+#\s.*$", "", command).strip()


def reason(page: str, command: str) -> str | None:
    """Why no test types the command, if that is said here."""
    return next((why for (of, form), why in NOT_TYPED.items() if of == page and re.fullmatch(form, command)), None)


TYPED = {bare(command) for block in typed_blocks() for command in block.commands}


def test_calls_are_found_in_sources():
    source = 'X = doc_commands.typed("a.md")\nfor x in doc_commands.typed("b.md", "C"): print(x)\nother.typed("d.md")'
    assert list(calls_of_typed(source)) == [("a.md", None), ("b.md", "C")]


def test_commands_of_several_lines_are_one():
    text = (
        "# what this is\na 'b\nc' \\\n  d\nfor x in 1 2; do\n  e $x\ndone\nf |\n  g\n\nh \"# no remark\" # a remark\n"
    )
    assert [bare(command) for command in Block("", "", text).commands] == [
        "a 'b c' d",
        "for x in 1 2; do e $x done",
        "f | g",
        'h "# no remark"',
    ]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_typed_or_says_why_not(page: str):
    commands = [bare(command) for block in doc_commands.blocks(page) for command in block.commands]
    assert commands
    forgotten = [command for command in commands if command not in TYPED and reason(page, command) is None]
    assert forgotten == [], f"No test types these commands of {page}, and NOT_TYPED gives no reason."


def test_every_reason_is_needed():
    for page, form in NOT_TYPED:
        shown = {bare(command) for block in doc_commands.blocks(page) for command in block.commands}
        assert [command for command in shown - TYPED if re.fullmatch(form, command)], f"{page} shows no {form}"
    for why in NOT_TYPED.values():
        for named in re.findall(r"tests/[\w/]+\.py", why):
            assert (REPOSITORY / named).is_file(), named
