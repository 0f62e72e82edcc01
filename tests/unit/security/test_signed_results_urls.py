"""Links to results: each opens those of one JobRun, for an hour."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from schemas.errors import ConfigurationError
from security.keyring import KeyRing
from security.signed_results_urls import URL_LIFETIME, ResultsRef, SignedResultsUrls
from security.signed_trace_urls import SignedTraceUrls, TraceRef

RING = KeyRing(["a secret key of sixteen characters or more"])
REF = ResultsRef("w", "shop", "jr_aaaaaaaaaaaaaaaaaaaaa", 3)


def test_a_link_opens_what_it_was_made_for() -> None:
    link, expires = SignedResultsUrls(RING).sign(REF)
    assert SignedResultsUrls(RING).verify(link) == REF
    assert abs(expires - datetime.now(UTC) - URL_LIFETIME) < timedelta(minutes=5)
    assert "shop" not in link
    assert link.isascii()


def test_a_link_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    link, expires = SignedResultsUrls(RING).sign(REF)
    monkeypatch.setattr(time, "time", lambda: expires.timestamp() - 1)
    assert SignedResultsUrls(RING).verify(link) == REF
    monkeypatch.setattr(time, "time", expires.timestamp)
    assert SignedResultsUrls(RING).verify(link) is None


@pytest.mark.parametrize("link", ["", "x", "v1.a.b", "ü"])
def test_what_nobody_made_opens_nothing(link: str) -> None:
    assert SignedResultsUrls(RING).verify(link) is None


def test_a_changed_link_and_one_of_another_key_open_nothing() -> None:
    link, _ = SignedResultsUrls(RING).sign(REF)
    assert SignedResultsUrls(RING).verify(link[:-2] + ("AA" if link[-2:] != "AA" else "BB")) is None
    assert SignedResultsUrls(KeyRing(["another key of sixteen characters"])).verify(link) is None


def test_a_link_to_a_trace_opens_no_results() -> None:
    assert SignedResultsUrls(RING).verify(SignedTraceUrls(RING).sign(TraceRef("w", "shop", "run-1", 1))) is None


def test_without_a_key_there_are_no_links() -> None:
    with pytest.raises(ConfigurationError):
        SignedResultsUrls(KeyRing([])).sign(REF)
