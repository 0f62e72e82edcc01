"""The key ring: sealing, binding, rotation, fingerprints."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.schemas.errors import ConfigurationError, SealError
from callboard.security.keyring import KeyRing

OLD = "an old key of 32 characters ....."
NEW = "a new key, also 32 characters ..."
encodable = st.text(st.characters(codec="utf-8"))


@given(text=encodable, owner=encodable)
def test_what_is_sealed_opens_for_the_same_owner(text: str, owner: str):
    ring = KeyRing([NEW])
    token = ring.seal(text, bound_to=owner)
    assert token.isascii()
    assert token.startswith("cb1.")
    assert ring.open(token, bound_to=owner) == text


def test_a_token_does_not_show_its_text_and_never_repeats():
    ring = KeyRing([NEW])
    first, second = (ring.seal("hunter2hunter2", bound_to="w/p/r") for _ in range(2))
    assert first != second
    assert "hunter2" not in first
    assert b"hunter2" not in urlsafe_b64decode(first.rpartition(".")[2] + "==")


def test_a_token_does_not_open_for_another_owner():
    ring = KeyRing([NEW])
    token = ring.seal("secret", bound_to="w/p/run1")
    with pytest.raises(SealError):
        ring.open(token, bound_to="w/p/run2")


def test_a_changed_byte_anywhere_keeps_a_token_shut():
    ring = KeyRing([NEW])
    token = ring.seal("secret", bound_to="w/p/r")
    head, _, body = token.rpartition(".")
    raw = urlsafe_b64decode(body + "=" * (-len(body) % 4))
    for position in range(len(raw)):
        changed = bytearray(raw)
        changed[position] ^= 1
        with pytest.raises(SealError):
            ring.open(f"{head}.{urlsafe_b64encode(changed).decode().rstrip('=')}", bound_to="w/p/r")


@pytest.mark.parametrize(
    "junk", ["", "hunter2", "cb1", "cb1..", "cb1.AAAAAAAAAAA.", "cb2.AAAAAAAAAAA.AAAA", "cb1.é.AAAA"]
)
def test_what_is_no_token_is_refused_without_being_quoted(junk: str):
    with pytest.raises(SealError) as caught:
        KeyRing([NEW]).open(junk, bound_to="w")
    assert not junk or junk not in caught.value.message


def test_a_token_of_a_known_key_that_is_too_short_is_refused():
    ring = KeyRing([NEW])
    head = ring.seal("x", bound_to="w").rpartition(".")[0]
    for body in ("A", "AA", "AAAA"):
        with pytest.raises(SealError):
            ring.open(f"{head}.{body}", bound_to="w")


def test_after_a_rotation_the_new_key_seals_and_both_open():
    before = KeyRing([OLD]).seal("secret", bound_to="w")
    rotated = KeyRing([NEW, OLD])
    assert rotated.open(before, bound_to="w") == "secret"
    after = rotated.seal("secret", bound_to="w")
    assert KeyRing([NEW]).open(after, bound_to="w") == "secret"


def test_a_token_of_a_key_that_was_taken_away_says_what_to_do():
    token = KeyRing([OLD]).seal("secret", bound_to="w")
    with pytest.raises(ConfigurationError, match="CALLBOARD_SECRET_KEY") as caught:
        KeyRing([NEW]).open(token, bound_to="w")
    assert OLD not in caught.value.message
    assert token not in caught.value.message


def test_short_keys_are_refused_by_position_and_not_quoted():
    with pytest.raises(ConfigurationError, match="key number 2 has 5 characters") as caught:
        KeyRing([NEW, "short"])
    assert "short" not in caught.value.message


def test_an_empty_ring_exists_but_whatever_needs_a_key_says_so():
    ring = KeyRing([])
    assert not ring
    assert ring.fingerprints(b"x", bound_to="w") == []
    with pytest.raises(ConfigurationError, match="CALLBOARD_SECRET_KEY is not set"):
        ring.seal("x", bound_to="w")


def test_a_lasting_fingerprint_is_the_same_while_a_newer_key_is_added():
    older, both = KeyRing([OLD]), KeyRing([NEW, OLD])
    assert older.lasting_fingerprint(b"x", bound_to="w") == both.lasting_fingerprint(b"x", bound_to="w")
    with pytest.raises(ConfigurationError, match="CALLBOARD_SECRET_KEY"):
        KeyRing([]).lasting_fingerprint(b"x", bound_to="w")


def test_fingerprints_differ_by_data_owner_and_key_and_by_nothing_else():
    ring = KeyRing([NEW, OLD])
    prints = ring.fingerprints(b"data", bound_to="w")
    by_the_newer, by_the_older = (KeyRing([key]).fingerprints(b"data", bound_to="w") for key in (NEW, OLD))
    assert prints == [*by_the_newer, *by_the_older]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", each) for each in prints)
    assert ring.fingerprints(b"data", bound_to="w") == prints
    assert len({*prints, *ring.fingerprints(b"datb", bound_to="w"), *ring.fingerprints(b"data", bound_to="x")}) == 6
    assert set(ring.fingerprints(b"ata", bound_to="wd")).isdisjoint(prints)


def test_a_ring_does_not_print_its_keys():
    assert NEW not in repr(KeyRing([NEW]))


def test_a_payload_opens_with_its_key_for_its_owner_only():
    ring = KeyRing([NEW, OLD])
    key_id, sealed = ring.seal_payload(b"\x00hunter2\xff", bound_to="default")
    assert b"hunter2" not in sealed
    assert ring.seal_payload(b"\x00hunter2\xff", bound_to="default")[1] != sealed, "nothing repeats"
    assert ring.open_payload(key_id, sealed, bound_to="default") == b"\x00hunter2\xff"
    with pytest.raises(SealError, match="another namespace"):
        ring.open_payload(key_id, sealed, bound_to="elsewhere")


@pytest.mark.parametrize("position", [0, 11, 12, -1])
def test_a_changed_byte_keeps_a_payload_shut(position: int):
    ring = KeyRing([NEW])
    key_id, sealed = ring.seal_payload(b"secret", bound_to="default")
    changed = bytearray(sealed)
    changed[position] ^= 1
    with pytest.raises(SealError):
        ring.open_payload(key_id, bytes(changed), bound_to="default")


@pytest.mark.parametrize("junk", [b"", b"short", bytes(12)])
def test_what_is_no_sealed_payload_is_refused(junk: bytes):
    ring = KeyRing([NEW])
    key_id, _ = ring.seal_payload(b"", bound_to="default")
    with pytest.raises(SealError):
        ring.open_payload(key_id, junk, bound_to="default")


def test_payloads_rotate_with_the_ring():
    key_id, sealed = KeyRing([OLD]).seal_payload(b"secret", bound_to="default")
    both = KeyRing([NEW, OLD])
    assert both.open_payload(key_id, sealed, bound_to="default") == b"secret"
    assert both.seal_payload(b"", bound_to="default")[0] == KeyRing([NEW]).seal_payload(b"", bound_to="default")[0]
    with pytest.raises(ConfigurationError, match=rf"key {key_id}, which is not in CALLBOARD_SECRET_KEY"):
        KeyRing([NEW]).open_payload(key_id, sealed, bound_to="default")
    with pytest.raises(ConfigurationError, match="with an unknown name") as caught:
        both.open_payload("<script>", sealed, bound_to="default")
    assert "<script>" not in caught.value.message


def test_payloads_and_sealed_secrets_have_keys_of_their_own():
    ring = KeyRing([NEW])
    key_id, sealed = ring.seal_payload(b"secret", bound_to="w")
    as_token = f"cb1.{key_id}.{urlsafe_b64encode(sealed).decode().rstrip('=')}"
    with pytest.raises(SealError):
        ring.open(as_token, bound_to="w")
