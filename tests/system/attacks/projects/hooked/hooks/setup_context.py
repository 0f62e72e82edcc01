"""A hook, for which the browser of this project opens its debugging port."""


async def setup_context(*, api_name, api_parameters, cdp_url):
    return None
