"""Which addresses are refused, however they are spelled."""

from __future__ import annotations

import pytest
from callboard_runtime.addresses import refusal
from hypothesis import given
from hypothesis import strategies as st

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
