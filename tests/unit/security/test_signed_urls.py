"""Signed addresses of traces and of results: what each opens, for how long, and that nobody else makes one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas.errors import ConfigurationError
from security import signed_results_urls, signed_trace_urls
from security.keyring import KeyRing
from security.signed_results_urls import ResultsRef, SignedResultsUrls
from security.signed_trace_urls import SignedTraceUrls, TraceRef

KEY, NEWER = "the key of these tests", "the one that came after it"
RING = KeyRing([KEY])
TRACE = TraceRef("workspace", "shop", "run-1", 2)
RESULTS = ResultsRef("workspace", "shop", "jr_aaaaaaaaaaaaaaaaaaaaa", 3)
KINDS: dict[str, tuple[Any, Callable[[KeyRing], Any], Callable[[KeyRing], str]]] = {
    "trace": (TRACE, SignedTraceUrls, lambda ring: SignedTraceUrls(ring).sign(TRACE)),
    "results": (RESULTS, SignedResultsUrls, lambda ring: SignedResultsUrls(ring).sign(RESULTS)[0]),
}
"""What an address is of, what reads addresses of this kind, and what makes this one."""

pytestmark = pytest.mark.parametrize(("of", "urls", "sign"), KINDS.values(), ids=KINDS)
Urls = Callable[[KeyRing], Any]
Sign = Callable[[KeyRing], str]


def test_it_opens_what_it_was_made_for_and_does_not_say_what(of: Any, urls: Urls, sign: Sign) -> None:
    assert urls(RING).verify(sign(RING)) == of
    assert sign(RING).isascii()
    assert not [text for text in map(str, astuple(of)[:3]) if text in sign(RING)]


def test_another_process_reads_it_also_after_a_rotation(of: Any, urls: Urls, sign: Sign) -> None:
    assert urls(KeyRing([NEWER, KEY])).verify(sign(RING)) == of
    assert urls(KeyRing([NEWER])).verify(sign(RING)) is None


def test_nothing_else_opens_anything(of: Any, urls: Urls, sign: Sign) -> None:
    address = sign(RING)
    changed = address[:-2] + ("AA" if address[-2:] != "AA" else "BB")
    sealed = RING.seal(json.dumps([*astuple(of), 99_999_999_999]), bound_to="session of the pages")
    others = [make(RING) for _, reads, make in KINDS.values() if reads is not urls]
    for address in ("", "x", "ü", "v1.a.b", "cb1.AAAAAAAAAAA.AAAA", changed, sealed, *others):
        assert urls(RING).verify(address) is None


def test_its_time_runs_out(of: Any, urls: Urls, sign: Sign, monkeypatch: pytest.MonkeyPatch) -> None:
    assert signed_trace_urls.URL_LIFETIME == signed_results_urls.URL_LIFETIME == timedelta(hours=1)
    monkeypatch.setattr(time, "time", lambda: 1_000_000.0)
    address = sign(RING)
    assert SignedResultsUrls(RING).sign(RESULTS)[1] == datetime.fromtimestamp(1_003_600, UTC)
    monkeypatch.setattr(time, "time", lambda: 1_003_599.0)
    assert urls(RING).verify(address) == of
    monkeypatch.setattr(time, "time", lambda: 1_003_600.0)
    assert urls(RING).verify(address) is None


def test_without_a_key_there_are_none(of: Any, urls: Urls, sign: Sign) -> None:
    with pytest.raises(ConfigurationError, match="CALLBOARD_SECRET_KEY"):
        sign(KeyRing([]))
