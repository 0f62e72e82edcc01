"""The keys of callers."""

import pytest

from callboard.schemas.errors import ConfigurationError
from callboard.security import apikeys
from callboard.security.apikeys import MIN_KEY_LENGTH, ApiKeys, has_key, key_digest, key_id_of, new_key

FIRST, SECOND = "the-first-key-of-two", "der-zweite-schlüssel-von-zweien"


def test_each_of_several_keys_is_accepted():
    keys = ApiKeys([FIRST, SECOND])
    assert keys.find(key_digest(FIRST.encode())) is not None
    assert keys.find(key_digest(SECOND.encode())) is not None


@pytest.mark.parametrize(
    "given",
    [b"", *(text.encode() for text in (FIRST[:-1], f"{FIRST} ", FIRST.upper(), f"{FIRST},{SECOND}")), b"\xff\xfe"],
)
def test_anything_else_is_not(given: bytes):
    assert ApiKeys([FIRST, SECOND]).find(key_digest(given)) is None


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


@pytest.mark.parametrize("given", [FIRST, SECOND, "another-key-of-somebody"])
def test_every_key_is_compared_by_its_whole_digest_whichever_is_right(given: str, monkeypatch: pytest.MonkeyPatch):
    compared: list[tuple[bytes, bytes]] = []

    def compare_digest(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(apikeys.hmac, "compare_digest", compare_digest)
    ApiKeys([FIRST, SECOND]).find(key_digest(given.encode()))
    assert compared == [(key_digest(given.encode()), key_digest(key.encode())) for key in (FIRST, SECOND)]


def test_a_new_key_has_256_random_bits_behind_its_visible_id():
    made = [new_key() for _ in range(50)]
    assert len({key for _, key in made}) == len({key_id for key_id, _ in made}) == 50
    for key_id, key in made:
        assert key.startswith(f"cb_{key_id}_")
        assert len(key) == len("cb_") + 12 + 1 + 43
        assert key_id_of(key.encode()) == key_id
        assert has_key(f"/x?next=/a/{key}&b")


KEY_ID = "0fS8u5Xjcg6J"
KEY = f"cb_{KEY_ID}_U2wx1OxbtrMtCPGuvEmelPOk9H1djRR-3to3i1T4s64"
"""A key that opens nothing. It stays the same, as the names of tests do that it is a part of."""


@pytest.mark.parametrize(
    "other",
    [
        *(b"", KEY[:-1].encode(), f"{KEY}A".encode(), f" {KEY}".encode(), f"{KEY}\n".encode(), KEY.upper().encode()),
        *(KEY.replace(KEY_ID, "../../../../").encode(), KEY.replace(KEY_ID, "a/b/c/d/e/f/").encode()),
        *(f"cb_{KEY_ID}_{'é' * 43}".encode(), f"cb_{KEY_ID}_{'é' * 43}".encode("latin-1"), b"cb_" + b"a" * 1_000_000),
    ],
)
def test_nothing_else_has_an_id_that_is_looked_up(other: bytes):
    assert key_id_of(other) is None


@pytest.mark.parametrize(
    "other", [KEY[:-1], f"{KEY}A", f"A{KEY}", f"-{KEY}", "cb1.abcdefghijk.xyz", KEY.replace("_", ".")]
)
def test_a_longer_or_shorter_text_holds_no_key(other: str):
    assert not has_key(other)
