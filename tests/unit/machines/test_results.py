"""What user code returns, as JSON text; the rest is tried in a Machine."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from machines.runner.failures import ResultTooBigError, UserCodeError, as_message
from machines.runner.results import LIMIT, to_json

TEXT = st.text(st.characters())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)
NOT_JSON = st.sampled_from([math.nan, math.inf, -math.inf, object(), b"", {1}, 1j, int, {(): 1}, {b"": 1}])


@given(value=JSON)
def test_json_comes_back_as_it_was(value: Any) -> None:
    text = to_json(value)
    assert text.isascii()
    assert json.loads(text) == value


@given(inner=NOT_JSON, around=st.lists(st.sampled_from(["list", "dict"]), max_size=5))
def test_what_is_not_json_is_refused_wherever_it_lies(inner: Any, around: list[str]) -> None:
    for kind in around:
        inner = [inner] if kind == "list" else {"x": inner}
    with pytest.raises(UserCodeError, match="Thing is not JSON serializable: "):
        to_json(inner, what="Thing")


@pytest.mark.parametrize(("letter", "size"), [("x", 1), ("ä", 6), ("𝄞", 12), ("\ud800", 6), ("\0", 6), ('"', 2)])
def test_the_limit_is_in_bytes_of_escaped_json(letter: str, size: int) -> None:
    fits, rest = divmod(LIMIT - 2, size)
    assert len(to_json(letter * fits + "x" * rest)) == LIMIT
    with pytest.raises(ResultTooBigError) as raised:
        to_json(letter * fits + "x" * (rest + 1))
    assert as_message(raised.value)["details"] == {"sizeInBytes": LIMIT + 1, "maxSizeInBytes": LIMIT}
