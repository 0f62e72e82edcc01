"""The limit that Callboard is compared with: the same work as a bare loop on Temporal, written by hand.

That is one workflow with one activity, as many of them at a time as Callboard has Machines, one warm browser that all
of them share, and a new context for each. Nothing is isolated, logged, stored or checked. `python -m tests.bench.bare
ADDRESS` runs its worker, on a Temporal server that is tuned as that of `callboard dev`.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

# The sandbox loads this module and its imports anew for each workflow, except for imports that are passed through.
with workflow.unsafe.imports_passed_through():
    from playwright.async_api import Browser, async_playwright

    from tests.bench.reading import SLOTS, launch, read, read_traced

UNTRACED, TRACED = "bench-untraced", "bench-traced"
STARTED = "bench-started"
"""The queue of workflows that are started, and whose activity nobody executes."""


@workflow.defn
class ReadWorkflow:
    """A workflow with one activity."""

    @workflow.run
    async def run(self, url: str) -> list[str]:
        """Execute the activity that reads `url`, and return the items."""
        return await workflow.execute_activity(
            "read", url, result_type=list[str], start_to_close_timeout=timedelta(minutes=1)
        )


class Reading:
    """The activity in two variants."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser

    @activity.defn(name="read")
    async def untraced(self, url: str) -> list[str]:
        """Read the page in the running browser."""
        return await read(self._browser, url)

    @activity.defn(name="read")
    async def traced(self, url: str) -> list[str]:
        """Read the page in the running browser, with a trace."""
        return await read_traced(self._browser, url)


async def main(address: str) -> None:
    """Serve the task queues until the end of the process."""
    client = await Client.connect(address)
    async with async_playwright() as playwright:
        reading = Reading(await launch(playwright))
        workers = [
            Worker(
                client,
                task_queue=queue,
                workflows=[ReadWorkflow],
                activities=[kind],
                max_concurrent_activities=SLOTS,
            )
            for queue, kind in ((UNTRACED, reading.untraced), (TRACED, reading.traced))
        ]
        workers.append(Worker(client, task_queue=STARTED, workflows=[ReadWorkflow]))
        await asyncio.gather(*(worker.run() for worker in workers))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
