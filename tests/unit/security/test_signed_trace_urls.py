"""Addresses of traces: what each opens, for how long, and that nobody else makes one."""

from __future__ import annotations

from datetime import timedelta

import pytest

from schemas.errors import ConfigurationError
from security import signed_trace_urls
from security.keyring import KeyRing
from security.signed_trace_urls import SignedTraceUrls, TraceRef

KEY, NEWER = "the key of these tests", "the one that came after it"
OF = TraceRef("workspace", "shop", "run-1", 2)


def test_an_address_opens_the_trace_it_was_made_for_and_does_not_say_which() -> None:
    addresses = SignedTraceUrls(KeyRing([KEY]))
    address = addresses.sign(OF)
    assert addresses.verify(address) == OF
    assert "shop" not in address
    assert "run-1" not in address


def test_another_process_reads_it_also_after_a_rotation() -> None:
    address = SignedTraceUrls(KeyRing([KEY])).sign(OF)
    assert SignedTraceUrls(KeyRing([NEWER, KEY])).verify(address) == OF
    assert SignedTraceUrls(KeyRing([NEWER])).verify(address) is None


@pytest.mark.parametrize("made_up", ["", "x", "cb1.AAAAAAAAAAA.AAAA"])
def test_what_is_none_of_ours_opens_nothing(made_up: str) -> None:
    assert SignedTraceUrls(KeyRing([KEY])).verify(made_up) is None


def test_one_that_was_changed_opens_nothing() -> None:
    addresses = SignedTraceUrls(KeyRing([KEY]))
    address = addresses.sign(OF)
    assert addresses.verify(address[:-2] + ("AA" if address[-2:] != "AA" else "BB")) is None


def test_nothing_that_is_sealed_for_something_else_is_an_address() -> None:
    ring = KeyRing([KEY])
    sealed = ring.seal('["workspace", "shop", "run-1", 2, 99999999999]', bound_to="session of the pages")
    assert SignedTraceUrls(ring).verify(sealed) is None


def test_its_time_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signed_trace_urls, "URL_LIFETIME", timedelta(seconds=-1))
    addresses = SignedTraceUrls(KeyRing([KEY]))
    assert addresses.verify(addresses.sign(OF)) is None


def test_without_a_key_there_are_none() -> None:
    with pytest.raises(ConfigurationError, match="CALLBOARD_SECRET_KEY"):
        SignedTraceUrls(KeyRing([])).sign(OF)
