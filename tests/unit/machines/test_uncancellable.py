"""Work that is finished also when somebody cancels in the middle of it."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.machines.uncancellable import uncancellable


class Work:
    """So many turns of the loop, then an end."""

    def __init__(self, turns: int, end: str) -> None:
        self.turns = turns
        self.end = end
        self.ended = False

    async def __call__(self) -> str:
        for _ in range(self.turns):
            await asyncio.sleep(0)
        self.ended = True
        match self.end:
            case "raise":
                raise ValueError("work")
            case "cancel":
                raise asyncio.CancelledError
            case _:
                return "done"


@settings(deadline=None)
@given(
    turns=st.integers(0, 6),
    end=st.sampled_from(["return", "raise", "cancel"]),
    cancels=st.lists(st.integers(0, 8), max_size=4),
)
async def test_work_ends_before_a_cancel_is_heard_and_a_cancel_is_always_heard(
    turns: int, end: str, cancels: list[int]
) -> None:
    work = Work(turns, end)
    task = asyncio.create_task(uncancellable(work()))
    asked = False
    for turn in range(12):
        for _ in range(cancels.count(turn)):
            if turn > 0:  # before its first turn a task is canceled without having begun
                asked = task.cancel() or asked
        await asyncio.sleep(0)
    await asyncio.wait({task}, timeout=10)
    assert work.ended
    if asked or end == "cancel":
        assert task.cancelled()
    elif end == "raise":
        assert isinstance(task.exception(), ValueError)
    else:
        assert task.result() == "done"
