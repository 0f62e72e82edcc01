"""What a Machine prints is taken apart the same in whatever pieces it comes, and makes lines whatever its bytes are."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from pathlib import Path
from subprocess import PIPE
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from callboard.machines.log_writer import LONGEST, LogWriter, OutputDemux, Said

SAYS = """
import json, sys
from callboard.machines.runner.stdio import LogLines
LogLines().say("info", "console", json.load(sys.stdin))
"""


@cache
def line(message: str) -> bytes:
    """What a process writes for a line of its log."""
    command = [sys.executable, "-c", SAYS]
    return subprocess.run(command, input=json.dumps(message).encode(), stdout=PIPE, check=True, timeout=60).stdout


class Taken:
    """What the keeper gets to know, in order."""

    def __init__(self, *pieces: bytes) -> None:
        self.all: list[bytes | Said] = []
        demux = OutputDemux(self._text, self.all.append)
        for piece in pieces:
            demux.feed(piece)
        demux.end()

    def _text(self, data: bytes) -> None:
        assert data
        before = self.all.pop() if self.all and isinstance(self.all[-1], bytes) else b""
        assert isinstance(before, bytes)
        self.all.append(before + data)


LONG = "é" * 6000


@given(st.lists(st.integers(0, 14_000), max_size=20))
def test_everything_comes_in_its_order_in_whatever_pieces_it_is_read(cuts: list[int]) -> None:
    data = b"before " + line("hello") + line(LONG) + b"between\x1e" + line("two\nlines \x1e \ud800") + b'\x1e{"le'

    def pieces() -> Iterable[bytes]:
        return (data[begin:end] for begin, end in pairwise(sorted({0, len(data), *(n for n in cuts if n < len(data))})))

    assert Taken(*pieces()).all == [
        b"before ",
        ("info", "console", "hello", None),
        ("info", "console", LONG, None),
        b"between\x1e",
        ("info", "console", "two\nlines \x1e \\ud800", None),
        b'\x1e{"le',
    ]


def test_a_message_is_cut_before_it_is_written() -> None:
    assert Taken(line("x" * (LONGEST + 5))).all == [("info", "console", "x" * LONGEST, LONGEST + 5)]


@given(st.binary(max_size=200))
def test_what_is_no_line_is_text(body: bytes) -> None:
    """It may be said to be one, and begin like one."""
    if not body.startswith(b"{"):
        data = b"\x1e" + body + b"\n"
        assert b"".join(each for each in Taken(data).all if isinstance(each, bytes)) == data


def test_a_line_with_values_of_other_types_is_text() -> None:
    for said in (
        {"level": 1, "source": "user", "message": "x"},
        {"level": "info", "source": ["user"], "message": "x"},
        {"level": "info", "source": "user", "message": "x", "cut": "much"},
        {"kind": "begin", "file": "/tmp/forged", "limit": 10},
        [],
        "[" * 100_000,
    ):
        data = b"\x1e" + (said if isinstance(said, str) else json.dumps(said)).encode() + b"\n"
        assert Taken(data).all == [data]


def test_a_line_without_an_end_takes_little_memory_and_swallows_nothing() -> None:
    demux_text: list[bytes] = []
    demux = OutputDemux(demux_text.append, lambda _: None)
    for n in range(1, 201):
        demux.feed(b"\x1e" + b"x" * 100_000)
        assert n * 100_001 - sum(map(len, demux_text)) <= 1024 * 1024
    demux.end()
    assert sum(map(len, demux_text)) == 200 * 100_001


@given(st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r", b"\r\n", b"\xff", "é".encode(), b"\0"]), max_size=12))
def test_lines_are_the_same_in_whatever_pieces_they_come(tmp_path_factory: Any, pieces: list[bytes]) -> None:
    folder: Path = tmp_path_factory.mktemp("lines")
    at_once, by_pieces = LogWriter(str(folder / "a"), 10_000), LogWriter(str(folder / "b"), 10_000)
    at_once.text(b"".join(pieces))
    for piece in pieces:
        by_pieces.text(piece)
    said: list[list[str]] = []
    for log_writer, name in ((at_once, "a"), (by_pieces, "b")):
        log_writer.close()
        said.append([json.loads(line)["message"] for line in (folder / name).read_bytes().splitlines()])
    assert said[0] == said[1]
    ends = b"".join(pieces).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    expected = [end.decode(errors="backslashreplace") for end in ends]
    assert said[0] == expected[:-1] + ([expected[-1]] if expected[-1] else [])
