from intuned_runtime import NonRetryableError


async def automation(page, params=None, **_kwargs):
    raise NonRetryableError("the account is closed")
