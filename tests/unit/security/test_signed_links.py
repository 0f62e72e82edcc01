"""Links to traces and results: what each opens, for how long, and that nobody else makes one."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from callboard.schemas.errors import ConfigurationError
from callboard.security.keyring import KeyRing
from callboard.security.signed_links import LINK_LIFETIME, ResultsRef, TraceRef, read_link, sign_link

KEY, NEWER = "the key of these tests", "the one that came after it"
RING = KeyRing([KEY])
TRACE = TraceRef("workspace", "shop", "run-1", 2)
RESULTS = ResultsRef("workspace", "shop", "jr_aaaaaaaaaaaaaaaaaaaaa", 3)


@pytest.mark.parametrize("ref", [TRACE, RESULTS])
def test_a_link_opens_what_it_was_made_for_and_does_not_say_what(ref: TraceRef | ResultsRef) -> None:
    link, expires = sign_link(ref, RING)
    assert read_link(link, type(ref), RING) == ref
    assert abs(expires - datetime.now(UTC) - LINK_LIFETIME) < timedelta(minutes=5)
    assert "shop" not in link
    assert link.isascii()


def test_another_process_reads_it_also_after_a_rotation() -> None:
    link, _ = sign_link(TRACE, RING)
    assert read_link(link, TraceRef, KeyRing([NEWER, KEY])) == TRACE
    assert read_link(link, TraceRef, KeyRing([NEWER])) is None


@pytest.mark.parametrize("made_up", ["", "x", "cb1.AAAAAAAAAAA.AAAA", "v1.a.b", "ü"])
def test_what_is_none_of_ours_opens_nothing(made_up: str) -> None:
    assert read_link(made_up, TraceRef, RING) is None


def test_one_that_was_changed_opens_nothing() -> None:
    link, _ = sign_link(RESULTS, RING)
    assert read_link(link[:-2] + ("AA" if link[-2:] != "AA" else "BB"), ResultsRef, RING) is None


def test_nothing_that_is_sealed_for_something_else_is_a_link() -> None:
    sealed = RING.seal('["workspace", "shop", "run-1", 2, 99999999999]', bound_to="session of the pages")
    assert read_link(sealed, TraceRef, RING) is None
    assert read_link(sign_link(TRACE, RING)[0], ResultsRef, RING) is None


def test_its_time_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    link, expires = sign_link(RESULTS, RING)
    monkeypatch.setattr(time, "time", lambda: expires.timestamp() - 1)
    assert read_link(link, ResultsRef, RING) == RESULTS
    monkeypatch.setattr(time, "time", expires.timestamp)
    assert read_link(link, ResultsRef, RING) is None


def test_without_a_key_there_are_none() -> None:
    with pytest.raises(ConfigurationError, match="CALLBOARD_SECRET_KEY"):
        sign_link(TRACE, KeyRing([]))
