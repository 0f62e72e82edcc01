"""At which level a worker isolates its Machines: what is wanted, what is missing, and what is said."""

from __future__ import annotations

import pytest

from machines.isolation import Isolation, Level, find_isolation
from schemas.errors import ConfigurationError

STANDING = {"no box": lambda: None, "no network": lambda: None}
MISSING = {"no box": lambda: None, "no network": lambda: "there is no /dev/net/tun"}


def test_it_is_full_where_all_walls_stand() -> None:
    for wanted in (None, "full"):
        assert find_isolation(wanted, STANDING) == Isolation(Level.FULL)


def test_it_is_partial_where_a_wall_is_missing_and_says_which() -> None:
    found = find_isolation(None, MISSING)
    assert found == Isolation(Level.PARTIAL, ("no network: there is no /dev/net/tun",))
    assert str(found).endswith("are not filtered: no network: there is no /dev/net/tun")


def test_full_is_refused_where_a_wall_is_missing() -> None:
    with pytest.raises(ConfigurationError, match=r"no network: there is no /dev/net/tun\. Give the worker"):
        find_isolation("full", MISSING)


def test_partial_is_partial_where_all_walls_stand_and_tries_none() -> None:
    def tried() -> str | None:
        raise AssertionError("a wall was tried")

    found = find_isolation("partial", {"no box": tried})
    assert found == Isolation(Level.PARTIAL)
    assert "CALLBOARD_ISOLATION says so" in str(found)
