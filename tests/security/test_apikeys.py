"""The keys of callers."""

import pytest

from security.apikeys import ApiKeys


def test_each_of_several_keys_is_accepted():
    keys = ApiKeys(["first", "zweiter-schlüssel"])
    assert keys.accepts(b"first")
    assert keys.accepts("zweiter-schlüssel".encode())


@pytest.mark.parametrize("given", [b"", b"firs", b"first ", b"FIRST", b"first,second", b"\xff\xfe", b"x" * 100_000])
def test_anything_else_is_not(given: bytes):
    assert not ApiKeys(["first", "second"]).accepts(given)


def test_without_keys_nothing_is_accepted_not_even_the_empty_key():
    for keys in (ApiKeys([]), ApiKeys([""])):
        assert not keys
        assert not keys.accepts(b"")


def test_keys_are_not_printed():
    keys = ApiKeys(["first"])
    assert "first" not in repr(keys) + repr(vars(keys))
