async def automation(page, params=None):
    return "fine"
