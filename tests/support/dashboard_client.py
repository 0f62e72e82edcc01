"""A client of the pages that behaves as a browser does: it keeps cookies, and asks for HTML."""

from __future__ import annotations

import re
from html import unescape

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

    async def send_form_of(self, page: str, file: tuple[str, bytes] | None = None, /, **changed: str) -> httpx.Response:
        """Send the form with a file that a page has as a browser does: its fields as they are, but for these."""
        address, fields = _form_of(page)
        given = {name: [value] for name, value in changed.items()}
        for name, value in fields:
            if name not in changed:
                given.setdefault(name, []).append(value)
        parts = [(name, (None, value)) for name, values in given.items() for value in values]
        return await self.post(address, files=[*parts, ("file", file or ("", b""))])

    async def send_form(self, path: str, /, **fields: str) -> httpx.Response:
        """Send a form of this session."""
        return await self.post(path, data={"token": await self.token(), **fields})


def _form_of(page: str) -> tuple[str, list[tuple[str, str]]]:
    """The address of the form with a file on a page, and the fields that a browser sends of it without script."""
    found = re.search(r'<form method="post" enctype="multipart/form-data"(.*?)>(.*?)</form>', page, re.DOTALL)
    assert found, page
    fields: list[tuple[str, str]] = []
    for each in re.finditer(r"<(input)\b([^>]*)>|<(textarea|select)\b([^>]*)>(.*?)</\3>", found[2], re.DOTALL):
        tag, written, text = each[1] or each[3], each[2] or each[4], each[5] or ""
        attributes = _attributes(written)
        if tag == "textarea":
            fields.append((attributes["name"], unescape(text.removeprefix("\n"))))
        elif tag == "select":
            options = [
                (_attributes(option), unescape(label))
                for option, label in re.findall(r"<option\b([^>]*)>([^<]*)", text)
            ]
            chosen = [each for each in options if "selected" in each[0]] or options[:1]
            fields += [(attributes["name"], option.get("value", label)) for option, label in chosen[-1:]]
        elif attributes.get("type") not in ("checkbox", "file") or "checked" in attributes:
            fields.append((attributes["name"], attributes.get("value", "")))
    return _attributes(found[1])["action"], fields


def _attributes(written: str) -> dict[str, str]:
    return {name: unescape(value) for name, value in re.findall(r'([\w-]+)(?:="([^"]*)")?', written)}


def browser_client(api: Api, **headers: str) -> Pages:
    """A client that has not signed in."""
    return Pages(
        transport=httpx.ASGITransport(api.app), base_url="http://api.test", headers={"accept": "text/html", **headers}
    )


async def signed_in_client(api: Api, key: str = KEY) -> Pages:
    pages = browser_client(api)
    assert (await pages.sign_in(key)).status_code == 303
    return pages
