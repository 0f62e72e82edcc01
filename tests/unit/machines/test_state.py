"""The shape of an AuthSession's state, and when two of them are the same login; the rest is tried in a Machine."""

from __future__ import annotations

import contextlib
import copy
import json
import random
import time
from typing import Any

import pytest
from callboard_runtime import indexed_db
from callboard_runtime.state import LIMIT, StateError, as_text, differ, of_browser, parsed
from hypothesis import given
from hypothesis import strategies as st

from tests.support.recording_site import cookie, state

TEXT = st.text(st.characters())
NAMES = st.sampled_from(["a", "b", "c"])
COOKIES = st.lists(st.builds(cookie, NAMES, TEXT, path=st.sampled_from(["/", "/x"]))).map(
    lambda cookies: list({(each["name"], each["path"]): each for each in cookies}.values())
)
STORAGE = st.dictionaries(st.sampled_from(["http://a.test", "https://b.test"]), st.dictionaries(TEXT, TEXT, min_size=1))
STATES = st.tuples(COOKIES, STORAGE, STORAGE).map(lambda parts: state(*parts[0], local=parts[1], session=parts[2]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["cookies", "origins", "name", "x"]), inner),
    max_leaves=10,
)


@given(given_state=STATES)
def test_a_state_in_the_contracts_shape_comes_back_as_it_was(given_state: dict[str, Any]) -> None:
    assert parsed(as_text(given_state)) == given_state
    assert as_text(given_state).isascii()


@given(value=JSON)
def test_what_is_no_state_is_refused_and_nothing_else_happens(value: Any) -> None:
    for told in (value, {"cookies": value}, {"origins": value}, {"sessionStorage": [value]}):
        with contextlib.suppress(StateError):
            assert parsed(json.dumps(told)).keys() == {"cookies", "origins", "sessionStorage"}


@given(one=STATES, seed=st.randoms(use_true_random=False))
def test_the_order_of_things_makes_no_difference(one: dict[str, Any], seed: random.Random) -> None:
    other = copy.deepcopy(one)
    for entries in (*other.values(), *(entry["localStorage"] for entry in other["origins"])):
        seed.shuffle(entries)
    assert not differ(one, other)


@given(one=STATES, other=STATES)
def test_states_differ_both_ways_or_not_at_all(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert differ(one, other) == differ(other, one)
    assert not differ(one, one)


NOW = time.time()
TOMORROW = NOW + 86_400
"""Late enough that a cookie does not expire while other tests run."""


@pytest.mark.parametrize(
    ("one", "other", "differs"),
    [
        ({}, {"value": "2"}, True),
        ({}, {"secure": True}, True),
        ({}, {"sameSite": "Strict"}, True),
        ({}, {"httpOnly": False}, True),
        ({}, {"path": "/x"}, True),
        ({}, {"domain": "b.test"}, True),
        ({}, {"expires": TOMORROW}, True),
        ({"expires": TOMORROW}, {"expires": TOMORROW + 59}, False),
        ({"expires": TOMORROW}, {"expires": TOMORROW + 61}, True),
        ({"expires": TOMORROW}, {"expires": TOMORROW - 61}, True),
    ],
)
def test_what_makes_a_difference_in_a_cookie(one: dict[str, Any], other: dict[str, Any], differs: bool) -> None:
    plain = cookie("sid", "1")
    assert differ(state(plain | one), state(plain | other)) is differs


def test_databases_are_compared_in_no_order_and_a_record_makes_a_difference() -> None:
    def with_databases(names: str, value: int = 1) -> dict[str, Any]:
        records = [{"key": name, "value": {"a": value, "b": 2}} for name in names]
        stores = [{"name": name, "autoIncrement": False, "records": records, "indexes": []} for name in names]
        databases = [{"name": name, "version": 1, "stores": stores} for name in names]
        return {**state(), "origins": [{"origin": "https://a.test", "localStorage": [], "indexedDB": databases}]}

    assert not differ(with_databases("ab"), parsed(as_text(with_databases("ba"))))
    assert differ(with_databases("ab"), with_databases("ab", value=2))
    assert differ(with_databases("ab"), with_databases("a"))


def test_a_cookie_that_has_expired_makes_none() -> None:
    assert not differ(state(cookie("sid", "1"), cookie("old", "1", expires=NOW - 1)), state(cookie("sid", "1")))


def test_of_cookies_with_one_key_that_for_all_sites_is_kept() -> None:
    everywhere, inside = cookie("sid", "everywhere"), {**cookie("sid", "inside"), "partitionKey": "https://a.test"}
    for cookies in ([everywhere, inside], [inside, everywhere]):
        assert of_browser(cookies, [], [], None)["cookies"] == [everywhere]


def test_a_state_that_is_too_big_is_not_kept() -> None:
    empty = len(as_text(state(cookie("sid", ""))))
    assert len(as_text(state(cookie("sid", "x" * (LIMIT - empty))))) == LIMIT
    with pytest.raises(StateError, match=f"it is {LIMIT + 1} bytes"):
        as_text(state(cookie("sid", "x" * (LIMIT - empty + 1))))


def test_a_long_name_of_a_database_is_not_cut_within_a_secret():
    (place,) = indexed_db.named("https://shop.test", {"found": [["secret" * 20, "values", "Blob"]], "all": True})
    assert place == "Blob in store values of database (a name of 120 characters) of https://shop.test"
