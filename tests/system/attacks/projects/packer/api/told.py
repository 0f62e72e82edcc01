"""Returns what the build of a package of this project has found."""

import evil


async def automation(page, params):
    return evil.FOUND
