"""Records of a live view: each opens once, in its place alone."""

import pytest

from callboard.schemas.errors import SealError
from callboard.security.keyring import KeyRing
from callboard.security.live_records import ANSWERS, ORDERS, PICTURES, LiveRecords

RING = KeyRing(["a secret key of sixteen or more"])


def records(view: str = "a", ring: KeyRing = RING) -> LiveRecords:
    return LiveRecords(ring, view)


def test_a_record_opens_once_and_none_comes_before_it_any_more():
    reader = records()
    sealed = {number: records().seal(b"%d" % number, PICTURES, number) for number in (1, 2, 7)}
    assert reader.open(sealed[2], PICTURES) == (2, b"2")
    for number in (2, 1):
        with pytest.raises(SealError, match="twice, or too late"):
            reader.open(sealed[number], PICTURES)
    assert reader.open(sealed[7], PICTURES) == (7, b"7")


def test_a_record_of_another_place_or_with_a_change_does_not_open():
    record = records().seal(b"told", ORDERS, 3)
    later = (4).to_bytes(8, "big") + record[8:]
    for view, sequence, given in [
        ("b", ORDERS, record),
        ("a", ANSWERS, record),
        ("a", ORDERS, later),
        ("a", ORDERS, record[:-1]),
        ("a", ORDERS, record[:10]),
        ("a", ORDERS, record[:8] + b"\xff" * 11 + record[19:]),
    ]:
        reader = records(view)
        with pytest.raises(SealError):
            reader.open(given, sequence)
    with pytest.raises(SealError, match="not in the ring"):
        records(ring=KeyRing(["another key of sixteen or more"])).open(record, ORDERS)


def test_what_was_refused_does_not_keep_a_good_record_from_being_opened():
    reader, forged = records(), (9).to_bytes(8, "big") + records().seal(b"no", ORDERS, 1)[8:]
    with pytest.raises(SealError):
        reader.open(forged, ORDERS)
    assert reader.open(records().seal(b"yes", ORDERS, 1), ORDERS) == (1, b"yes")
