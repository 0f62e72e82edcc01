"""Addresses of proxies."""

import contextlib
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from schemas.rest.proxy import ProxyParts, split_proxy


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://proxy.example", ProxyParts("http://proxy.example")),
        ("http://proxy.example:3128/", ProxyParts("http://proxy.example:3128")),
        ("HTTPS://Proxy.Example:443", ProxyParts("https://proxy.example:443")),
        ("socks5://127.0.0.1:1080", ProxyParts("socks5://127.0.0.1:1080")),
        ("http://[::1]:8080", ProxyParts("http://[::1]:8080")),
        ("http://127.0.0.1.:8080", ProxyParts("http://127.0.0.1:8080")),
        ("http://[0:0:0:0:0:0:0:1]", ProxyParts("http://[::1]")),
        ("http://h.:1", ProxyParts("http://h.:1")),
        ("http://user:pass@h:1", ProxyParts("http://h:1", "user", "pass")),
        ("https://user:pass@h:1", ProxyParts("https://h:1", "user", "pass")),
        ("http://user@h:1", ProxyParts("http://h:1", "user", "")),
        ("http://us%40er:p%3A%2F%25w@h:1", ProxyParts("http://h:1", "us@er", "p:/%w")),
        ("http://us@er:p:w@h:1", ProxyParts("http://h:1", "us@er", "p:w")),
        ("http://zo%C3%AB:pässword@h", ProxyParts("http://h", "zoë", "pässword")),
    ],
)
def test_a_proxy_comes_apart_into_server_user_and_password(url: str, parts: ProxyParts):
    assert split_proxy(url) == parts


@pytest.mark.parametrize(
    "url",
    [
        "",
        "proxy.example:3128",
        "//proxy.example",
        "http://",
        "http://:3128",
        "http://user:pass@",
        "http://user:pass@:1",
        "ftp://h",
        "socks4://h",
        "intuned://auto",
        "http://h/path",
        "http://h?x=1",
        "http://h?",
        "http://h#x",
        "http://h:0",
        "http://h:65536",
        "http://h:x",
        "http://h:-1",
        "http://[::1",
        "http://[::g]",
        " http://h",
        "http://h\n",
        "http://h\x00",
        "http://h\\@x",
        "http://0x7f.1:1",
        "http://user%00:x@h",
        "http://user%FF:x@h",
        "http://:pass@h",
        "socks5://user:pass@h",
    ],
)
def test_anything_else_is_refused(url: str):
    """Which hosts are is shown by `test_host.py`."""
    with pytest.raises(PydanticCustomError, match="expected a proxy URL"):
        split_proxy(url)


def test_what_is_special_about_a_refusal_is_said():
    for url, word in (
        ("intuned://auto", "platform"),
        ("socks5://u:p@h", "SOCKS"),
        ("http://:p@h", "user name"),
        ("http://127.1", "an IP address in its usual spelling"),
    ):
        with pytest.raises(PydanticCustomError, match=word):
            split_proxy(url)


credential = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1)


@given(credential, credential)
def test_credentials_come_back_as_they_were_encoded(user: str, password: str):
    url = f"http://{quote(user, safe='')}:{quote(password, safe='')}@h:1"
    assert split_proxy(url) == ProxyParts("http://h:1", user, password)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(url: str):
    with contextlib.suppress(PydanticCustomError):
        assert split_proxy(f"http://{url}").server.startswith("http://")


def test_parts_do_not_print_credentials():
    assert "pass" not in repr(split_proxy("http://user:pass@h"))
