"""Leaves a daemon, and waits until it is canceled or killed."""

from importlib import import_module

leaves = import_module("api.leaves")


async def automation(page, params):
    leaves.detach()
    await page.wait_for_event("close", timeout=0)
