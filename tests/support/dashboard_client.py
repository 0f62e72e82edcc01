"""A client of the pages that behaves as a browser does: it keeps cookies, and asks for HTML."""

from __future__ import annotations

import re

import httpx

from tests.support.api_in_process import KEY, Api


def browser_client(api: Api, **headers: str) -> httpx.AsyncClient:
    """A client without a key, which keeps cookies and asks for pages as a browser does."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(api.app), base_url="http://api.test", headers={"accept": "text/html", **headers}
    )


async def sign_in(client: httpx.AsyncClient, key: str = KEY, **fields: str) -> httpx.Response:
    return await client.post("/sign-in", data={"key": key, **fields})


async def signed_in_client(api: Api) -> httpx.AsyncClient:
    client = browser_client(api)
    assert (await sign_in(client)).status_code == 303
    return client


async def form_token(client: httpx.AsyncClient) -> str:
    found = re.search(r'name="token" value="([0-9a-f]+)"', (await client.get("/projects")).text)
    assert found
    return found[1]
