"""The commands that docs show, as a test types them.

What no test types is found by tests/unit/docs/test_doc_commands.py.

A test gets them through `typed` only, with the page and its heading as literals, so that the source of the tests tells
which commands are typed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import CALLBOARD, Done, execute, surroundings
from tests.support.repository import REPOSITORY

_FENCE = re.compile(r"^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
_FILE = re.compile(r"`[^`\n]+`\n\n\Z")
"""The name of a file alone on a line: the block behind it is that file."""


@dataclass(frozen=True)
class Block:
    """One fenced block of commands."""

    page: str
    heading: str
    """The heading below which it is."""
    text: str

    @property
    def commands(self) -> list[str]:
        """Its commands, each on one line; what continues a line, and what is within a loop, belongs to its command."""
        return list(_commands(self.text))


def blocks(page: str) -> list[Block]:
    """All blocks of commands of a page, in its order; files that it shows are none."""
    text = (REPOSITORY / page).read_text("utf-8")
    fenced = [(found.start(), found.end()) for found in _FENCE.finditer(text)]
    headings = [
        (found.start(), found[1])
        for found in _HEADING.finditer(text)
        if not any(start < found.start() < end for start, end in fenced)
    ]
    return [
        Block(page, [heading for start, heading in headings if start < found.start()][-1], found["text"])
        for found in _FENCE.finditer(text)
        if found["kind"] == "sh" and not _FILE.search(text[: found.start()])
    ]


def typed(page: str, heading: str | None = None) -> list[Block]:
    """The blocks of a page, or below one heading of it, of which the test that asks types all.

    Raises:
        AssertionError: There are none.
    """
    found = [block for block in blocks(page) if heading in {None, block.heading}]
    assert found, f"{page} has no commands below {heading!r}"
    return found


async def type_in(folder: Path, script: str, text: str = "", **environment: str) -> Done:
    """Type commands in a folder, which have to succeed; `text` is what they read."""
    path = f"{CALLBOARD.parent}:{os.environ['PATH']}"
    env = surroundings(**{"PATH": path, **environment})
    done = await execute("bash", "-euc", script, text=text, cwd=folder, env=env)
    assert done.code == 0, done
    return done


def _commands(text: str) -> Iterator[str]:
    """Split a script where a command is complete: outside of quotes, braces and loops, without a continuation."""
    lines: list[str] = []
    for line in text.splitlines():
        if not lines and (not line.strip() or line.lstrip().startswith("#")):
            continue
        lines.append(line)
        if _is_complete("\n".join(lines)):
            yield " ".join(part.strip().removesuffix("\\").strip() for part in lines)
            lines = []
    assert not lines, f"This command has no end: {lines}"


def _is_complete(text: str) -> bool:
    bare = re.sub(r"'[^']*'|\"(?:[^\"\\]|\\.)*\"", "''", text)
    if "'" in bare.replace("''", "") or '"' in bare:
        return False
    if re.search(r"(?:\\|\||&&)\s*$", bare):
        return False
    words = re.findall(r"(?<![\w-])(?:for|while|if|case|done|fi|esac)(?![\w-])", re.sub(r"(?<!\S)#.*", "", bare))
    opened = sum(1 if word in {"for", "while", "if", "case"} else -1 for word in words)
    return opened <= 0
