"""What a Machine prints is taken apart the same however it comes in; and it makes lines, whatever bytes there are."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from machines.intake import Intake
from machines.runner.lines import SupervisorLines, UserLines
from machines.transcript import LONGEST, Transcript

OPEN = b"L\0\0\0\0"
"""What stands between the mark and the length of a line that is logged."""


class Machine:
    """Writes as the processes of a Machine do, into a pipe that nobody reads meanwhile, and a socket."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        fcntl.fcntl(self._read, fcntl.F_SETPIPE_SZ, 1024 * 1024)
        self.ours, theirs = socket.socketpair()
        self.ours.setblocking(False)
        kept = os.dup(1)
        try:
            os.dup2(self._write, 1)  # they open again what descriptor 1 is
            self.supervisor = SupervisorLines(theirs)
            self.mark = self.supervisor.mark
            self.user = UserLines(self.mark)
        finally:
            os.dup2(kept, 1)
            os.close(kept)

    def prints(self, data: bytes) -> None:
        os.write(self._write, data)

    def printed(self) -> bytes:
        """Everything that is in the pipe. Nothing can be written there afterwards."""
        self.supervisor._keeper.close()
        for end in (self._write, self.supervisor._output._pipe, self.user._output._pipe):
            os.close(end)
        with os.fdopen(self._read, "rb") as pipe:
            return pipe.read()


class Taken:
    """What the keeper gets to know, in order."""

    def __init__(self, machine: Machine, pieces: Callable[[bytes], Iterable[bytes]] = lambda data: [data]) -> None:
        self.all: list[tuple[str, Any]] = []
        intake = Intake(machine.ours, self._text, lambda said: self.all.append(("logged", said["message"])), self._told)
        for piece in pieces(machine.printed()):
            intake.feed(piece)
        intake.end()
        machine.ours.close()

    def _text(self, data: bytes) -> None:
        assert data
        if self.all and self.all[-1][0] == "text":
            self.all[-1] = ("text", self.all[-1][1] + data)
        else:
            self.all.append(("text", data))

    def _told(self, said: dict[str, Any]) -> None:
        self.all.append((said["kind"], said.get("message")))

    @property
    def text(self) -> bytes:
        return b"".join(data for what, data in self.all if what == "text")


LONG = "é" * 6000


@given(st.lists(st.integers(0, 14_000), max_size=20))
def test_everything_comes_in_its_order_in_whatever_pieces_it_is_read(cuts: list[int]) -> None:
    machine = Machine()
    machine.prints(b"before ")
    machine.supervisor.begin("file", 7, hooked=False)
    machine.prints(b"in " + machine.mark[:9])
    machine.supervisor.say("info", "console", "hello")
    machine.user.say("info", "logging", LONG)
    machine.supervisor.say("info", "page", LONG)
    machine.prints(b"between" + machine.mark[:3])
    machine.user.say("info", "logging", "short")
    machine.supervisor.end()

    def pieces(data: bytes) -> Iterable[bytes]:
        return (data[begin:end] for begin, end in pairwise(sorted({0, len(data), *(n for n in cuts if n < len(data))})))

    assert Taken(machine, pieces).all == [
        ("text", b"before "),
        ("begin", None),
        ("text", b"in " + machine.mark[:9]),
        ("line", "hello"),
        ("logged", LONG),
        ("line", LONG),
        ("text", b"between" + machine.mark[:3]),
        ("logged", "short"),
        ("end", None),
    ]


def test_a_message_is_cut_before_it_is_written() -> None:
    machine = Machine()
    machine.supervisor.say("info", "console", "x" * (LONGEST + 5))
    machine.user.say("info", "logging", "y" * (LONGEST + 5))
    assert Taken(machine).all == [("line", "x" * LONGEST), ("logged", "y" * LONGEST)]


def test_without_a_supervisor_everything_is_text() -> None:
    machine = Machine()
    machine.ours.recv(1000)
    machine.user.say("info", "logging", "hello")
    assert Taken(machine).text.startswith(machine.mark)


@given(st.binary(max_size=5000))
def test_a_packet_that_makes_no_sense_ends_nothing(body: bytes) -> None:
    machine = Machine()
    machine.prints(machine.mark + OPEN + len(body).to_bytes(2) + body)
    machine.supervisor.end()
    assert Taken(machine).all[-1] == ("end", None)


def test_the_beginning_of_a_packet_swallows_nothing() -> None:
    machine = Machine()
    machine.prints(machine.mark + OPEN + (4000).to_bytes(2) + b"half")
    machine.supervisor.say("info", "console", "hello")
    machine.prints(machine.mark + OPEN + (65_000).to_bytes(2) + b"x" * 5000)
    machine.supervisor.end()
    assert [said for said in Taken(machine).all if said[0] != "text"] == [("line", "hello"), ("end", None)]


def test_numbers_that_user_code_makes_up_or_takes_away_change_no_message() -> None:
    machine = Machine()
    for number in (*range(5), 2**32 - 1):
        machine.user._output.write(b"O", number)
    machine.supervisor.begin("file", 7, hooked=False)
    machine.supervisor.say("info", "console", "one")
    os.read(machine._read, 100_000)  # also those of the supervisor
    machine.supervisor.say("info", "console", "two")
    machine.prints(b"printed")
    machine.supervisor.end()
    told = [("begin", None), ("line", "one"), ("line", "two"), ("text", b"printed"), ("end", None)]
    assert Taken(machine).all == told


def test_lines_that_are_begun_without_end_take_little_memory() -> None:
    machine = Machine()
    for number in range(100):
        machine.user._output.write(b"P", number, b"x" * 100)
    intake = Intake(machine.ours, lambda _: None, lambda _: None, lambda _: None)
    intake.feed(machine.printed())
    machine.ours.close()
    assert len(intake._parts) == 8


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
