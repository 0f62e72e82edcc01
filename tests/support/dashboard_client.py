"""A client of the pages that behaves as a browser does: it keeps cookies, and asks for HTML."""

from __future__ import annotations

import re

import httpx

from tests.support.api_in_process import KEY, Api

EVIL = "</script><img src=x onerror=alert(1)>\"'"
"""A text that would be script on a page that does not escape it."""
ESCAPED = "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;&#34;&#39;"


class Pages(httpx.AsyncClient):
    """A client without a key, which keeps cookies, asks for pages, and sends their forms."""

    async def sign_in(self, key: str = KEY, **fields: str) -> httpx.Response:
        return await self.post("/sign-in", data={"key": key, **fields})

    async def token(self) -> str:
        """What the forms of this session carry."""
        found = re.search(r'name="token" value="([0-9a-f]+)"', (await self.get("/projects")).text)
        assert found
        return found[1]

    async def send_form(self, path: str, /, **fields: str) -> httpx.Response:
        """Send a form of this session."""
        return await self.post(path, data={"token": await self.token(), **fields})


def browser_client(api: Api, **headers: str) -> Pages:
    """A client that has not signed in."""
    return Pages(
        transport=httpx.ASGITransport(api.app), base_url="http://api.test", headers={"accept": "text/html", **headers}
    )


async def signed_in_client(api: Api, key: str = KEY) -> Pages:
    pages = browser_client(api)
    assert (await pages.sign_in(key)).status_code == 303
    return pages
