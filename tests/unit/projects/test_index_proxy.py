"""Which addresses the proxy beside uv signs in for."""

from __future__ import annotations

import base64

import httpx
import pytest

from callboard.projects.index_proxy import Indexes

GROUP = "https://pypi.example/groups/7/simple"
INDEXES = Indexes(
    [
        (GROUP, ("group", "one")),
        (f"{GROUP}/inner", ("inner", "two")),
        ("https://pypi.example:8443/simple/", ("port", "three")),
        ("http://plain.example/flat", ("plain", "four")),
        ("https://open.example/simple", None),
    ]
)


@pytest.mark.parametrize(
    ("url", "user"),
    [
        (GROUP, "group"),
        (f"{GROUP}/humanize/", "group"),
        (f"{GROUP}/inner/humanize/", "inner"),
        ("https://pypi.example:443/groups/7/simple/humanize/?page=2", "group"),
        ("https://pypi.example:8443/simple/humanize/", "port"),
        ("http://plain.example/flat", "plain"),
        # Files of packages lie anywhere on the host of their index.
        ("https://pypi.example/projects/9/files/humanize-4.9.0-py3-none-any.whl", "inner"),
        ("https://pypi.example/projects/9/files/humanize-4.9.0-py3-none-any.whl.metadata", "inner"),
        ("https://pypi.example/files/humanize-4.9.0.tar.gz", "inner"),
        ("https://pypi.example/archive.tar.gz", None),
        ("https://pypi.example/api/v4/user", None),
        ("https://pypi.example/groups/7/simplest", None),
        # Servers differ in what these are.
        (f"{GROUP}/../../../api/v4/user", None),
        (f"{GROUP}/%2e%2e/api", None),
        (f"{GROUP}/%252e%252e/api", None),
        (f"{GROUP}/..;/api", None),
        (f"{GROUP}/..%2fapi", None),
        (f"{GROUP}/..%5capi", None),
        # These are other hosts.
        ("http://pypi.example/groups/7/simple/humanize/", None),
        ("https://pypi.example:8444/simple/humanize/", None),
        ("https://pypi.example.org/groups/7/simple/humanize/", None),
        ("https://pypi.example@evil.example/groups/7/simple/humanize/", None),
        ("https://open.example/simple/humanize/", None),
    ],
)
def test_what_uv_reads_of_an_index_is_signed_in_for_and_nothing_else(url: str, user: str | None) -> None:
    found = INDEXES.find(httpx.URL(url))
    header = None if found is None else found[1]
    signed = None if header is None else base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")[0]
    assert signed == user
