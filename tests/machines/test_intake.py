"""What a Machine prints is taken apart the same however it comes in; and it makes lines, whatever bytes there are."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from machines.intake import MAGIC, Intake
from machines.runner.lines import Lines
from machines.transcript import LONGEST, Transcript

MARK = b"0123456789abcdef"


def packets(*lines: tuple[str, str]) -> bytes:
    """As the child writes them."""
    read, write = os.pipe()
    fcntl.fcntl(read, fcntl.F_SETPIPE_SZ, 1024 * 1024)  # nobody reads while they are written
    kept = os.dup(1)
    try:
        os.dup2(write, 1)  # it opens again what descriptor 1 is
        child = Lines(MARK)
    finally:
        os.dup2(kept, 1)
        os.close(kept)
    os.close(write)
    child.begin("file", 7)
    for source, message in lines:
        child.say("info", source, message)
    child.end()
    os.close(child._pipe)
    with os.fdopen(read, "rb") as pipe:
        return pipe.read()


class Taken:
    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.text = b""
        self.packets: list[tuple[str, dict[str, Any]]] = []
        intake = Intake(self._printed, lambda kind, said: self.packets.append((kind, said)))
        for piece in pieces:
            intake.feed(piece)
        intake.end()

    def _printed(self, data: bytes) -> None:
        assert data
        self.text += data


LONG = "é" * 6000
PRINTED = b"before " + packets(("console", "hello"), ("page", LONG)) + b"in " + MARK[:9] + b"between" + MARK[:3]


@given(st.lists(st.integers(0, len(PRINTED) + len(MAGIC) + len(MARK)), max_size=20))
def test_it_is_the_same_in_whatever_pieces_it_comes(cuts: list[int]) -> None:
    data = MAGIC + MARK + PRINTED
    places = sorted({0, len(data), *(cut for cut in cuts if cut <= len(data))})
    taken = Taken(data[begin:end] for begin, end in pairwise(places))
    assert taken.text == b"before in " + MARK[:9] + b"between" + MARK[:3]
    assert taken.packets == [
        ("B", {"file": "file", "limit": 7}),
        ("L", {"level": "info", "source": "console", "message": "hello"}),
        ("L", {"level": "info", "source": "page", "message": LONG}),
        ("E", {}),
    ]


def test_a_message_is_cut_before_it_is_written() -> None:
    taken = Taken([MAGIC + MARK + packets(("console", "x" * (LONGEST + 5)))])
    assert taken.packets[1][1] == {"level": "info", "source": "console", "message": "x" * LONGEST, "cut": LONGEST + 5}


@pytest.mark.parametrize("printed", [b"plain", MAGIC[:5], b"\0\0\0", MAGIC + MARK[:3], b""])
def test_what_does_not_begin_with_a_mark_is_text(printed: bytes) -> None:
    assert Taken([printed[:2], printed[2:]] if printed else []).text == printed


@given(st.binary())
def test_a_packet_that_makes_no_sense_ends_nothing(body: bytes) -> None:
    broken = MARK + b"L\0\0\0\0" + len(body).to_bytes(2) + body
    whole = MARK + b"E\0\0\0\0\0\x02{}"
    assert Taken([MAGIC + MARK + broken + whole]).packets[-1] == ("E", {})


@given(st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r", b"\r\n", b"\xff", "é".encode(), b"\0"]), max_size=12))
def test_lines_are_the_same_in_whatever_pieces_they_come(tmp_path_factory: Any, pieces: list[bytes]) -> None:
    folder: Path = tmp_path_factory.mktemp("lines")
    at_once, by_pieces = Transcript(str(folder / "a"), 10_000), Transcript(str(folder / "b"), 10_000)
    at_once.text(b"".join(pieces))
    for piece in pieces:
        by_pieces.text(piece)
    said: list[list[str]] = []
    for transcript, name in ((at_once, "a"), (by_pieces, "b")):
        transcript.close()
        said.append([json.loads(line)["message"] for line in (folder / name).read_bytes().splitlines()])
    assert said[0] == said[1]
    ends = b"".join(pieces).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    expected = [end.decode(errors="backslashreplace") for end in ends]
    assert said[0] == expected[:-1] + ([expected[-1]] if expected[-1] else [])
