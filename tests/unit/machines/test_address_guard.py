"""Which addresses are refused, however they are spelled."""

from __future__ import annotations

import pytest
from callboard_runtime.addresses import refusal, shown
from hypothesis import given
from hypothesis import strategies as st

from callboard.security.secret_detection import is_secret_name

SCHEMES = ["file", "view-source", "filesystem", "chrome", "chrome-untrusted", "chrome-extension", "devtools", "ftp"]
SKIPPED = st.text("\t\n\r", max_size=2)


@st.composite
def spelled(draw: st.DrawFn, scheme: str) -> str:
    """The scheme as a browser understands it: with any case, and with characters that it skips."""
    letters = [draw(SKIPPED) + draw(st.sampled_from([letter, letter.upper()])) for letter in f"{scheme}:"]
    return draw(st.text([*map(chr, range(0x21))], max_size=3)) + "".join(letters)


@given(
    url=st.sampled_from([*SCHEMES, "javascript", "x+y.z-1"]).flatmap(spelled),
    rest=st.sampled_from(
        ["///etc/passwd", "/etc/passwd", "//localhost/etc/passwd", "alert(1)", "https://example.com/"]
    ),
)
def test_an_address_that_leads_into_the_machine_is_refused(url: str, rest: str) -> None:
    assert refusal(url + rest)
    assert refusal("passwd", url + rest)


@given(url=st.sampled_from(["http", "https", "data", "blob", "about"]).flatmap(spelled), rest=st.text())
def test_any_other_scheme_is_left_to_the_browser(url: str, rest: str) -> None:
    assert refusal(url + rest) is None


@pytest.mark.parametrize("url", ["/relative", "?a=file:///x", "localhost:8080/x", "127.0.0.1:8080", ""])
def test_an_address_without_a_scheme_is_left_to_the_browser(url: str) -> None:
    assert refusal(url) is None
    assert refusal(url, "https://example.com/") is None


@pytest.mark.parametrize(
    ("query", "hidden"),
    [
        ("page=3&category=science", "page=3&category=science"),
        ("page=3&access_token=abc&sort=price", "page=3&access_token=***&sort=price"),
        ("code=123456&state=xyz&sig=1", "code=***&state=***&sig=***"),
        ("q=how+to+oil+a+chair;n=1", "q=how+to+oil+a+chair;n=1"),
        ("from=2026-11-30T10:00:00.000Z", "from=2026-11-30T10:00:00.000Z"),
        ("name=a-chair-for-2026-made-of-oak", "name=a-chair-for-2026-made-of-oak"),
        ("next=https://shop.test/a/b/c/1234567", "next=https://shop.test/a/b/c/1234567"),
        ("v=eyJhbGciOiJIUzI1NiJ9x7Qk2", "v=***"),
        ("v=QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "v=***"),
        ("v=eyJhbG-iOiJI_zI1NiJ9.x7Qk", "v=***"),
        ("v=0b2d8a0c-6f0e-4d5f-9a3c-1e7b5d9f2a44", "v=***"),
        ("v=01234567890123456789", "v=***"),
        ("v=eyJhbGciOiJIUzI1NiJ", "v=eyJhbGciOiJIUzI1NiJ"),
        ("eyJhbGciOiJIUzI1NiJ9x7Qk2", "***"),
        ("%63ode=1", "%63ode=***"),
        ("token=", "token="),
    ],
)
def test_the_query_of_an_address_is_shown_but_for_what_may_open_a_door(query: str, hidden: str) -> None:
    assert shown(f"https://anna:word@shop.test/a?{query}#part") == f"https://***@shop.test/a?{hidden}"


WORDS = ("api", "key", "user", "pass", "words", "token", "Secret", "code", "id", "page", "sid", "Sigs", "state")


@given(st.lists(st.sampled_from(WORDS), max_size=3))
def test_names_of_secrets_are_those_that_are_masked_elsewhere(words: list[str]) -> None:
    name = "_".join(words)
    expected = is_secret_name(name) or "state" in words
    assert shown(f"https://shop.test/?{name}=1").endswith("***") == expected
