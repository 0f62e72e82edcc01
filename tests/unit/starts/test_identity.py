import secrets
from collections import Counter

import pytest

from callboard.schemas.workflow import names
from callboard.security.keyring import KeyRing
from callboard.starts.identity import derive_identities, new_run_id


def test_no_id_begins_like_an_option_of_a_command(monkeypatch: pytest.MonkeyPatch):
    def hyphens(count: int) -> bytes:
        return b"\xfb" * count  # in base64: -_v7-_v7…

    monkeypatch.setattr(secrets, "token_bytes", hyphens)
    made = new_run_id()
    assert (made[:4], len(made), names.is_run_id(made)) == ("__v7", 21, True)


def test_nor_does_one_that_an_idempotency_key_stands_for():
    ring = KeyRing(["a key of sixteen characters or more"])
    made = [derive_identities(ring, "w", "shop", f"key-{number}", b"{}")[0].run_id for number in range(2000)]
    begin = Counter(run_id[0] for run_id in made)
    assert "-" not in begin
    assert len(begin) == 63
    assert len(set(made)) == len(made)
    assert derive_identities(ring, "w", "mail", "key-0", b"{}")[0].run_id not in made, "it is the project's own"
