"""Tells a secret in all that an Attempt leaves."""

import logging
import os

from intuned_runtime import set_attribute


async def automation(page, params, **_):
    secret = os.environ[params["name"]]
    print("printed", secret, secret.encode().hex(" "))
    logging.getLogger(secret).warning("logged %s", secret)
    set_attribute("told", secret)
    await page.set_content(f"<title>{secret}</title><input value='{secret}'><script>console.log('{secret}')</script>")
    await page.get_by_role("textbox").fill(secret)
    await page.evaluate("secret => { window.name = secret }", secret)
    raise ValueError(f"it was {secret}")
