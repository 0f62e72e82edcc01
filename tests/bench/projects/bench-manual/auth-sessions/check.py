"""An imported login is always good."""


async def check(page, **_kwargs):
    return True
