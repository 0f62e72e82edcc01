"""The keys of callers."""

import pytest

from schemas.errors import ConfigurationError
from security.apikeys import MIN_KEY_LENGTH, ApiKeys

FIRST, SECOND = "the-first-key-of-two", "der-zweite-schlüssel-von-zweien"


def test_each_of_several_keys_is_accepted():
    keys = ApiKeys([FIRST, SECOND])
    assert keys.find(FIRST.encode()) is not None
    assert keys.find(SECOND.encode()) is not None


@pytest.mark.parametrize(
    "given",
    [b"", *(text.encode() for text in (FIRST[:-1], f"{FIRST} ", FIRST.upper(), f"{FIRST},{SECOND}")), b"\xff\xfe"],
)
def test_anything_else_is_not(given: bytes):
    assert ApiKeys([FIRST, SECOND]).find(given) is None


@pytest.mark.parametrize("none", [[], [""]])
def test_without_a_key_nobody_could_call(none: list[str]):
    with pytest.raises(ConfigurationError, match="CALLBOARD_API_KEYS is not set"):
        ApiKeys(none)


def test_a_key_that_can_be_guessed_is_refused_and_not_shown():
    assert len(FIRST) == MIN_KEY_LENGTH
    with pytest.raises(ConfigurationError) as refused:
        ApiKeys([FIRST, FIRST[:-1]])
    assert refused.value.message == (
        "CALLBOARD_API_KEYS: key number 2 has 19 characters, expected at least 20 random ones."
    )


def test_keys_are_not_printed():
    keys = ApiKeys([FIRST])
    assert FIRST not in repr(keys) + repr(vars(keys))
