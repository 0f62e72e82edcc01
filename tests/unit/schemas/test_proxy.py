"""Addresses of proxies."""

import contextlib
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from callboard.schemas.rest.proxy import ProxyParts, split_proxy

HOSTS = {
    "Proxy.Example": "proxy.example",
    "h.": "h.",
    "127.0.0.1.": "127.0.0.1",
    "[::1]": "[::1]",
    "[0:0:0:0:0:0:0:1]": "[::1]",
}
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1)


@given(
    st.sampled_from(["http", "HTTPS", "socks5"]),
    st.sampled_from(sorted(HOSTS)),
    st.just("") | st.integers(1, 65535).map(lambda port: f":{port}"),
    st.sampled_from(["", "/"]),
    st.none() | st.tuples(texts, texts),
)
def test_a_proxy_comes_apart_into_server_user_and_password(
    scheme: str, host: str, port: str, end: str, credentials: tuple[str, str] | None
):
    server = f"{scheme.lower()}://{HOSTS[host]}{port}"
    if credentials is None or scheme == "socks5":
        assert split_proxy(f"{scheme}://{host}{port}{end}") == ProxyParts(server)
    else:
        user, password = (quote(each, safe="") for each in credentials)
        parts = split_proxy(f"{scheme}://{user}:{password}@{host}{port}{end}")
        assert parts == ProxyParts(server, *credentials)
        assert repr(parts) == f"ProxyParts(server={server!r})"


@pytest.mark.parametrize(
    ("written", "credentials"),
    [("user", ("user", "")), ("us@er:p:w", ("us@er", "p:w")), ("zo%C3%AB:pässword", ("zoë", "pässword"))],
)
def test_credentials_are_read_as_people_write_them(written: str, credentials: tuple[str, str]):
    assert split_proxy(f"http://{written}@h") == ProxyParts("http://h", *credentials)


@pytest.mark.parametrize(
    ("urls", "words"),
    [
        (["", "proxy.example:3128", "//proxy.example", "ftp://h", "socks4://h"], "scheme http, https or socks5"),
        (["http://", "http://:3128", "http://user:pass@", "http://user:pass@:1", "http://[::1", "http://[::g]"], ""),
        (["http://h/path", "http://h?x=1", "http://h?", "http://h#x"], ""),
        (["http://h:0", "http://h:65536", "http://h:x", "http://h:-1"], ""),
        ([" http://h", "http://h\n", "http://h\x00", "http://h\\@x", "http://a%00:x@h", "http://a%FF:x@h"], ""),
        (["http://0x7f.1:1", "http://127.1"], "an IP address in its usual spelling"),
        (["http://:pass@h"], "a user name"),
        (["socks5://user:pass@h"], "cannot give user and password to a SOCKS proxy"),
        (["intuned://auto"], "a proxy of Intuned's platform"),
    ],
)
def test_anything_else_is_refused_with_what_is_special_about_it(urls: list[str], words: str):
    for url in urls:
        with pytest.raises(PydanticCustomError, match=rf"^expected a proxy URL.*{words}"):
            split_proxy(url)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(url: str):
    with contextlib.suppress(PydanticCustomError):
        assert split_proxy(f"http://{url}").server.startswith("http://")
