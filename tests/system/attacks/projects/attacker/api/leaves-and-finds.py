"""Looks at once for what it leaves, to show that it would be found."""

from importlib import import_module

leaves, finds = import_module("api.leaves"), import_module("api.finds")


async def automation(page, params):
    told = await leaves.automation(page, params)
    await page.unroute_all()
    return {**told, "found": await finds.automation(page, params)}
