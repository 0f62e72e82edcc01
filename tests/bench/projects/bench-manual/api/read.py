"""The project is there for its AuthSessions, which are imported."""


async def automation(page, params=None, **_kwargs):
    return None
