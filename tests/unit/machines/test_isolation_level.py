"""At which level a worker isolates its Machines: what is wanted, what is missing, and what is said."""

from __future__ import annotations

from functools import partial

import pytest

from callboard.machines.isolation import Isolation, Level, find_isolation
from callboard.schemas.errors import ConfigurationError

STANDING = partial(find_isolation, box_refusal=lambda: None, network_refusal=lambda: None)
NO_NETWORK = partial(find_isolation, box_refusal=lambda: None, network_refusal=lambda: "there is no /dev/net/tun")
NO_BOX = partial(find_isolation, box_refusal=lambda: "no bubblewrap", network_refusal=lambda: None)


def test_it_is_full_where_all_walls_stand() -> None:
    for wanted in (None, "full"):
        assert STANDING(wanted) == Isolation(Level.FULL)


def test_it_is_open_without_a_network_and_says_what_is_missing() -> None:
    found = NO_NETWORK(None)
    assert found.level is Level.OPEN
    assert str(found).startswith(
        "open: each Machine is boxed, but user code and pages reach whatever this host reaches"
    )
    assert "there is no /dev/net/tun" in str(found)


def test_a_level_that_is_set_is_refused_where_a_wall_of_it_is_missing() -> None:
    with pytest.raises(ConfigurationError, match=r"there is no /dev/net/tun\. Give the worker .* to open"):
        NO_NETWORK("full")
    for wanted in ("full", "open"):
        with pytest.raises(ConfigurationError, match="no bubblewrap"):
            NO_BOX(wanted)


def test_without_a_box_only_the_setting_goes_on_without_walls() -> None:
    with pytest.raises(ConfigurationError, match=r"no bubblewrap\. .* set CALLBOARD_ISOLATION to none"):
        NO_BOX(None)
    assert NO_BOX("none").level is Level.NONE


@pytest.mark.parametrize("level", ["open", "none"])
def test_a_lower_level_that_is_set_holds_where_all_walls_stand(level: str) -> None:
    found = STANDING(level)
    assert found == Isolation(Level(level))
    assert "(CALLBOARD_ISOLATION says so)" in str(found)
