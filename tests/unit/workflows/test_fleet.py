"""The workflow `Fleet` gives no Machine to a worker that another one may still be using."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import timedelta

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from schemas.workflow.fleet import LEASE_MARGIN, LEASE_TERM
from tests.support.fleet_stage import Asking, Fleet, size
from tests.support.temporal_servers import skipping_environment
from workflows.fleet import RENEW_INTERVAL, STALE, WAITING_INTERVAL

GONE = LEASE_TERM + LEASE_MARGIN


@pytest.fixture(scope="module")
async def environment() -> AsyncGenerator[WorkflowEnvironment]:
    async with skipping_environment() as environment:
        yield environment


@pytest.fixture
async def fleet(environment: WorkflowEnvironment) -> AsyncGenerator[Fleet]:
    async with Fleet.up(environment.client) as fleet:
        yield fleet


async def test_a_worker_gets_what_its_projects_may_have_and_it_can_hold(fleet: Fleet) -> None:
    answer = await Asking(fleet, "a", 8).ask({"shop": size(3), "mail": size(20)})
    assert answer.shares == {"shop": 3, "mail": 8}
    assert (answer.term, answer.next_within, answer.known) == (LEASE_TERM, RENEW_INTERVAL, True)


async def test_two_workers_never_have_more_than_the_project_may(fleet: Fleet) -> None:
    first, second = Asking(fleet, "a", 2), Asking(fleet, "b", 2)
    assert (await first.ask({"shop": size(3)})).shares == {"shop": 2}
    assert (await second.ask({"shop": size(3)})).shares == {"shop": 1}
    assert (await first.ask()).shares == {"shop": 2}


async def test_what_an_attempt_uses_is_given_to_another_only_when_it_is_said_to_be_free(fleet: Fleet) -> None:
    first, second = Asking(fleet, "a", 4), Asking(fleet, "b", 4)
    await first.ask({"shop": size(4)})
    first.running = {"shop": 3}
    await first.ask({"shop": size(2, deploy=1)})
    assert first.shares == {"shop": 2}
    assert (await second.ask({"shop": size(2, deploy=1)})).shares == {}
    first.running = {"shop": 1}
    assert (await first.ask(leaving=True)).shares == {}
    answer = await second.ask()
    assert (answer.shares, answer.next_within) == ({}, WAITING_INTERVAL), "its last answer still counts"
    await first.ask(leaving=True)
    answer = await second.ask()
    assert (answer.shares, answer.next_within) == ({"shop": 1}, WAITING_INTERVAL)
    first.running = {}
    await first.ask(leaving=True)
    answer = await second.ask()
    assert (answer.shares, answer.next_within) == ({"shop": 2}, RENEW_INTERVAL)


async def test_what_a_silent_worker_holds_is_given_to_others_after_its_lease(
    fleet: Fleet, environment: WorkflowEnvironment
) -> None:
    first, second = Asking(fleet, "a"), Asking(fleet, "b")
    await first.ask({"shop": size(2)})
    await environment.sleep(GONE - timedelta(seconds=1))
    assert (await second.ask({"shop": size(2)})).shares == {}
    await environment.sleep(2)
    assert (await second.ask()).shares == {"shop": 2}
    answer = await first.ask()
    assert (answer.known, answer.shares) == (False, {}), "it must say again what it serves"
    assert (await first.ask({"shop": size(2)})).shares == {}


async def test_a_worker_that_leaves_gives_all_back_at_once_and_is_not_heard_any_more(fleet: Fleet) -> None:
    first, second = Asking(fleet, "a"), Asking(fleet, "b")
    await first.ask({"shop": size(2)})
    await fleet.leave("a")
    assert (await second.ask({"shop": size(2)})).shares == {"shop": 2}
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await first.ask({"shop": size(2)})
    assert isinstance(refused.value.cause, ApplicationError)
    assert refused.value.cause.type == STALE


async def test_a_request_that_comes_late_is_refused(fleet: Fleet) -> None:
    first = Asking(fleet, "a")
    await first.ask({"shop": size(2)})
    await first.ask()
    first.number = 1
    with pytest.raises(WorkflowUpdateFailedError):
        await first.ask({"shop": size(9)})
    assert (await fleet.state()).projects["shop"].machines == 2


async def test_an_old_number_does_not_come_back_with_a_worker_that_has_not_heard_of_the_deploy(fleet: Fleet) -> None:
    first, second = Asking(fleet, "a"), Asking(fleet, "b")
    await first.ask({"shop": size(2, deploy=1)})
    await second.ask({"shop": size(5, deploy=0)})
    assert (await fleet.state()).projects["shop"].machines == 2
    await second.ask({"shop": size(3, deploy=-5, replaces=1)})
    assert (await fleet.state()).projects["shop"].machines == 3, "the clock of that deploy is behind"


async def test_a_worker_that_joins_takes_what_another_one_has_too_much_of(fleet: Fleet) -> None:
    first, second = Asking(fleet, "a", 2), Asking(fleet, "b", 2)
    projects = {"mail": size(2), "shop": size(2)}
    assert (await first.ask(projects)).shares == projects.fromkeys(projects, 2)
    answer = await second.ask(projects)
    assert (answer.shares, answer.next_within) == ({}, WAITING_INTERVAL)
    await first.ask()
    await first.ask()
    await second.ask()
    assert sorted([*first.shares, *second.shares]) == ["mail", "shop"]


async def test_all_projects_together_never_have_more_than_the_smallest_limit_that_a_worker_was_told(
    fleet: Fleet,
) -> None:
    first, second = Asking(fleet, "a", max_machines=5), Asking(fleet, "b")
    projects = {"shop": size(3), "mail": size(3, deploy=1)}
    assert (await first.ask(projects)).shares == {"shop": 3, "mail": 2}
    assert (await second.ask(projects)).shares == {}
    first.running = {"mail": 2}
    assert (await second.ask(max_machines=2)).shares == {}
    answer = await first.ask(projects | {"blog": size(1, deploy=2)})
    assert answer.shares == {"mail": 1, "shop": 1}
    first.running = {}
    await first.ask(leaving=True)
    assert (await second.ask(projects, max_machines=2)).shares == {}, "the last answer of the other one still counts"
    await first.ask(leaving=True)
    assert (await second.ask(max_machines=2)).shares == {"mail": 1, "shop": 1}


async def test_a_project_grows_within_the_limit_only_when_another_one_has_given_up(fleet: Fleet) -> None:
    first, second = Asking(fleet, "a", 4, max_machines=4), Asking(fleet, "b", 4)
    assert (await first.ask({"shop": size(4)})).shares == {"shop": 4}
    first.running = {"shop": 4}
    assert (await second.ask({"mail": size(4, deploy=1)})).shares == {}
    assert (await first.ask()).shares == {"shop": 2}
    answer = await second.ask()
    assert (answer.shares, answer.next_within) == ({}, WAITING_INTERVAL), "four Attempts of the other project go on"
    first.running = {"shop": 3}
    await first.ask()
    answer = await second.ask()
    assert (answer.shares, answer.next_within) == ({"mail": 1}, WAITING_INTERVAL)
    first.running = {}
    await first.ask()
    assert (await second.ask()).shares == {"mail": 2}


async def test_after_a_fleet_that_was_ended_nobody_gets_more_than_it_holds_until_old_leases_are_over(
    environment: WorkflowEnvironment,
) -> None:
    async with Fleet.up(environment.client, successor=True) as fleet:
        first, second = Asking(fleet, "a"), Asking(fleet, "b")
        second.shares = {"shop": 1}
        assert (await first.ask({"shop": size(3)})).shares == {}
        assert (await second.ask({"shop": size(3)})).shares == {"shop": 1}
        await environment.sleep(GONE)
        assert (await first.ask({"shop": size(3)})).shares == {"shop": 3}


async def test_projects_that_nobody_serves_are_forgotten(fleet: Fleet) -> None:
    first = Asking(fleet, "a")
    await first.ask({"shop": size(2), "mail": size(2)})
    await first.ask({"shop": size(2)})
    await first.ask()
    assert list((await fleet.state()).projects) == ["shop"]


async def test_it_goes_on_with_a_fresh_history_and_forgets_nothing(environment: WorkflowEnvironment) -> None:
    async with Fleet.up(environment.client) as fleet:
        first = Asking(fleet, "a")
        await first.ask({f"p{number}": size(1) for number in range(3)})
        before = await fleet.state()
        run_id = (await fleet.handle.describe()).run_id
        for _ in range(2000):
            await first.ask()
            if (await fleet.handle.describe()).run_id != run_id:
                break
        else:
            pytest.fail("the history has become long")
        assert (await fleet.state()).projects == before.projects
        assert (await first.ask()).shares == {"p0": 1, "p1": 1, "p2": 1}
