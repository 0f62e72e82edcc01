"""Masking of addresses."""

import pytest

from security.masking import mask_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://proxy.example:3128", "http://proxy.example:3128"),
        ("http://user:word@proxy.example:3128/a", "http://***@proxy.example:3128/a"),
        ("http://us@er:w@rd@proxy.example", "http://***@proxy.example"),
        ("https://hook.example/a?token=secret#frag", "https://hook.example/a?***"),
        ("/var/lib/callboard", "/var/lib/callboard"),
        ("http://[broken", "***"),
    ],
)
def test_user_part_query_and_fragment_are_not_shown(url: str, shown: str):
    assert mask_url(url) == shown
