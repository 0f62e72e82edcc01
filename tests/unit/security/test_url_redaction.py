"""Addresses of pages as they are shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.security.masking import Masker
from callboard.security.url_redaction import MAX_URL_LENGTH, redact_url

TOKEN = "eyJhbGciOiJIUzI1NiJ9x7Qk2"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://shop.test/chairs?page=2&sort=price", "https://shop.test/chairs?page=2&sort=price"),
        ("https://shop.test/a-chair-for-2026-made-of-oak/7#reviews", None),
        ("https://shop.test/orders/0b2d8a0c-6f0e-4d5f-9a3c-1e7b5d9f2a44", None),
        ("https://anna:word@shop.test/", "https://***@shop.test/"),
        ("https://shop.test/login?code=123456&next=/orders", "https://shop.test/login?code=***&next=/orders"),
        ("https://shop.test/login?code=", None),
        (f"https://shop.test/magic/{TOKEN}?x={TOKEN}", "https://shop.test/magic/***?x=***"),
        (f"https://shop.test/#access_token={TOKEN}&state=1", "https://shop.test/#access_token=***&state=1"),
        (f"https://shop.test/?q=how+to+oil+a+chair&v={TOKEN[:8]}", None),
        ("https://shop.test/?word=correct%20horse", "https://shop.test/?word=***"),
        ("about:blank", None),
        ("data:text/html,correct horse", "data:text/html,***"),
        ("http://[broken", "***"),
    ],
)
def test_where_a_page_was_is_shown_and_what_opens_doors_is_not(url: str, shown: str | None) -> None:
    assert redact_url(url, Masker(["correct horse"])) == (shown or url)


@given(st.text())
def test_whatever_an_address_is_it_can_be_shown(url: str) -> None:
    assert len(redact_url(url * 200, Masker(()))) <= MAX_URL_LENGTH + 10
    redact_url(f"https://{url}", Masker(()))
