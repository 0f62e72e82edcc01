import asyncio
import os
import signal

import pytest

from callboard.cli.dev import run_until_signalled


async def test_the_work_ends_as_it_does():
    async def work(*, succeeds: bool) -> int:
        if not succeeds:
            raise ValueError("broken")
        return 7

    assert await run_until_signalled(work(succeeds=True), on_second_signal=lambda: None) == 7
    with pytest.raises(ValueError, match="broken"):
        await run_until_signalled(work(succeeds=False), on_second_signal=lambda: None)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_lets_the_work_clean_up_and_a_second_one_hurries_it(number: signal.Signals):
    hurried, cleaned = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        try:
            os.kill(os.getpid(), number)
            await asyncio.Event().wait()
        finally:
            os.kill(os.getpid(), number)
            await hurried.wait()
            cleaned.set()

    async with asyncio.timeout(10):
        assert await run_until_signalled(work(), on_second_signal=hurried.set) is None
    assert cleaned.is_set()
