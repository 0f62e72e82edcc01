"""`callboard fleet` shows who holds what, and what is missing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cli.fleet import describe_fleet
from schemas.workflow.fleet import FleetState, MemberState, ProjectSize

NOW = datetime(2026, 11, 27, tzinfo=UTC)


def member(*projects: str, lasts: int = 30, **fields: object) -> MemberState:
    given = {"number": 1, "capacity": 4, "projects": projects, "expires_at": NOW + timedelta(seconds=lasts)}
    return MemberState.model_validate(given | fields)


def test_it_shows_who_holds_what_and_what_is_missing() -> None:
    state = FleetState(
        members={
            "b": member("shop", "mail", host="two", plan={"shop": 2}, shares={"shop": 1}),
            "a": member("shop", host="one", shares={"shop": 2}, held={"shop": 3}, leaving=True),
            "dead": member("shop", lasts=-1, shares={"shop": 1}),
        },
        projects={name: ProjectSize(machines=5, deployed_at=NOW) for name in ("shop", "mail", "old")},
    )
    shown = describe_fleet(state, NOW)
    assert [(each["worker"], each["machines"], each["state"]) for each in shown["workers"]] == [
        ("a", 3, "leaving"),
        ("b", 1, "serving"),
    ]
    assert [(each["project"], each["held"], each["workers"], each["missing"]) for each in shown["projects"]] == [
        ("mail", 0, "", "5, as its workers have no room for more"),
        ("old", 0, "", "no worker serves it"),
        ("shop", 4, "a (3), b (1)", "1, which a worker is about to get"),
    ]


def test_without_workers_there_is_nothing_to_show() -> None:
    assert describe_fleet(FleetState(), NOW) == {"workers": [], "projects": []}
