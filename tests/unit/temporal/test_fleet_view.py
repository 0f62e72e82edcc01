"""Who holds which Machines and what is missing, as everybody is shown it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from callboard.schemas.rest.fleet import Fleet, MissingReason
from callboard.schemas.workflow.fleet import FleetState
from callboard.temporal.fleet_view import describe_fleet
from tests.support.fleet_stage import fleet_state

BEFORE = datetime.now(UTC) - timedelta(minutes=1)


def described(state: FleetState, deployed: dict[str, int] | None = None) -> Fleet:
    sizes = {project: size.machines for project, size in state.projects.items()}
    return describe_fleet(state, datetime.now(UTC), sizes if deployed is None else deployed)


def test_held_is_what_a_worker_was_given_or_still_uses() -> None:
    state = fleet_state(
        {"b": {"shop": 1, "mail": 2}, "a": {"shop": 2}, "dead": {"shop": 1}},
        {"shop": 4},
        a={"held": {"shop": 3}, "leaving": True},
        dead={"expires_at": BEFORE},
    )
    view = described(state)
    assert [(each.worker, each.host, each.machines, each.state) for each in view.workers] == [
        ("a", "host-of-a", 3, "leaving"),
        ("b", "host-of-b", 3, "serving"),
    ]
    assert view.workers[1].projects == {"mail": 2, "shop": 1}
    assert [each.project for each in view.projects] == ["mail", "shop"]
    shop = view.projects[1]
    assert (shop.workers, shop.held, shop.missing, shop.reason, shop.message) == ({"a": 3, "b": 1}, 4, 0, None, None)


def test_what_all_living_workers_tell_of_their_machines_is_added_up() -> None:
    state = fleet_state(
        {"a": {"shop": 2, "mail": 1}, "b": {"shop": 2}, "dead": {"shop": 1}, "idle": {"mail": 0}},
        a={"busy": {"shop": 1, "mail": 1}, "warm": {"shop": 1}, "isolation": "full"},
        b={"busy": {"shop": 2}, "isolation": "open"},
        dead={"busy": {"shop": 1}, "isolation": "none", "expires_at": BEFORE},
        idle={"isolation": "none"},
    )
    mail, shop = described(state).projects
    assert (mail.busy, mail.warm, mail.isolation) == (1, 0, "full")
    assert (shop.busy, shop.warm, shop.isolation) == (3, 1, "open"), "the level with the fewest walls counts"


def test_more_than_wanted_is_not_missing() -> None:
    (shop,) = described(fleet_state({"a": {"shop": 3}}), {"shop": 1}).projects
    assert (shop.held, shop.machines, shop.missing, shop.reason) == (3, 1, 0, None)


@pytest.mark.parametrize(
    ("state", "reason", "shortage"),
    [
        (FleetState(), MissingReason.NO_WORKER, "3 of 3: no worker of the role all or browser is there"),
        (
            fleet_state({"a": {"shop": 1}}, {"shop": 3}, a={"leaving": True}),
            MissingReason.NO_WORKER,
            "2 of 3: no worker of the role all or browser is there",
        ),
        (fleet_state({"a": {"mail": 1}}), MissingReason.NOT_SERVED, "3 of 3: no worker serves it"),
        (
            fleet_state({"a": {"shop": 1}}, {"shop": 3}, a={"plan": {"shop": 3}}),
            MissingReason.ON_THE_WAY,
            "2 of 3: a worker is about to get what is missing",
        ),
        (
            fleet_state({"a": {"shop": 2}}, {"shop": 2}),
            MissingReason.ON_THE_WAY,
            "1 of 3: a worker is about to get what is missing",
        ),
        (
            fleet_state({"a": {"shop": 2}, "dead": {"shop": 1}}, dead={"expires_at": BEFORE}),
            MissingReason.ON_THE_WAY,
            "1 of 3: a worker is about to get what is missing",
        ),
        (
            fleet_state({"a": {"shop": 2}}, {"shop": 3}),
            MissingReason.NO_ROOM,
            "1 of 3: its workers have no room for more",
        ),
        (
            fleet_state({"a": {"shop": 2}}, {"shop": 3}, a={"max_machines": 2}),
            MissingReason.LIMIT,
            "1 of 3: the projects may have no more together",
        ),
        (
            fleet_state({"a": {"shop": 2}}, {"shop": 3}, a={"max_machines": 3}),
            MissingReason.NO_ROOM,
            "1 of 3: its workers have no room for more",
        ),
    ],
    ids=[
        "nobody",
        "all leave",
        "not served",
        "planned",
        "deployed just now",
        "died just now",
        "no room",
        "limit",
        "limit not reached",
    ],
)
def test_what_is_missing_has_a_reason(state: FleetState, reason: MissingReason, shortage: str) -> None:
    (shop,) = described(state, {"shop": 3}).projects
    assert (shop.reason, shop.message) == (reason, shortage)


def test_the_limit_is_the_smallest_that_a_living_worker_was_told() -> None:
    state = fleet_state(
        {"a": {"shop": 1}, "b": {"shop": 1}, "c": {}, "dead": {}},
        a={"max_machines": 9},
        b={"max_machines": 7},
        dead={"max_machines": 1, "expires_at": BEFORE},
    )
    assert described(state).limit == 7
    assert described(FleetState()).limit is None
