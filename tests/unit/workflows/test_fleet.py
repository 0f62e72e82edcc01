"""The workflow `Fleet` gives no Machine to a worker that another one may still be using."""

from collections.abc import AsyncGenerator, Awaitable, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

import workflows.allocation
from callboard.schemas.workflow.fleet import LEASE_MARGIN, LEASE_TERM, FleetInput
from tests.support.fleet_stage import Asking, FleetStage, size
from tests.support.temporal_servers import dev_client, dev_server, skipping_environment
from workflows.allocation import Member, Shares
from workflows.fleet import LONG_HISTORY, RENEW_INTERVAL, STALE, UNKNOWN, WAITING_INTERVAL

GONE = LEASE_TERM + LEASE_MARGIN


@pytest.fixture(scope="module")
async def environment() -> AsyncGenerator[WorkflowEnvironment]:
    async with skipping_environment() as environment:
        yield environment


@pytest.fixture
async def fleet(environment: WorkflowEnvironment, name: str) -> AsyncGenerator[FleetStage]:
    async with FleetStage(environment.client, name) as fleet:
        await fleet.up()
        yield fleet


async def test_a_worker_gets_what_its_projects_may_have_and_it_can_hold(fleet: FleetStage):
    answer = await Asking(fleet, "a", 8).ask({"shop": size(3), "mail": size(20)})
    assert answer.shares == {"shop": 3, "mail": 8}
    assert (answer.term, answer.next_within) == (LEASE_TERM, RENEW_INTERVAL)


async def test_two_workers_never_have_more_than_the_project_may(fleet: FleetStage):
    first, second = Asking(fleet, "a", 2), Asking(fleet, "b", 2)
    assert (await first.ask({"shop": size(3)})).shares == {"shop": 2}
    assert (await second.ask({"shop": size(3)})).shares == {"shop": 1}
    assert (await first.ask()).shares == {"shop": 2}


async def test_a_machine_in_use_goes_to_nobody_until_it_is_said_to_be_free(fleet: FleetStage):
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
    fleet: FleetStage, environment: WorkflowEnvironment
):
    first, second = Asking(fleet, "a"), Asking(fleet, "b")
    await first.ask({"shop": size(2)})
    await environment.sleep(GONE - timedelta(seconds=1))
    assert (await second.ask({"shop": size(2)})).shares == {}
    await environment.sleep(2)
    assert (await second.ask()).shares == {"shop": 2}
    assert (await first.ask()).shares == {}


async def test_a_worker_that_leaves_gives_all_back_and_is_heard_no_more(fleet: FleetStage):
    first, second = Asking(fleet, "a"), Asking(fleet, "b")
    await first.ask({"shop": size(2)})
    await fleet.leave("a")
    assert (await second.ask({"shop": size(2)})).shares == {"shop": 2}
    assert await refused(first.ask({"shop": size(2)})) == STALE


async def test_a_request_that_comes_late_is_refused_without_an_event(fleet: FleetStage):
    first = Asking(fleet, "a")
    await first.ask({"shop": size(2)})
    await first.ask()
    accepted = await _accepted(fleet)
    first.number = 1
    assert await refused(first.ask({"shop": size(9)})) == STALE
    assert (await fleet.state()).projects["shop"].machines == 2
    assert await _accepted(fleet) == accepted == 2


async def _accepted(fleet: FleetStage) -> int:
    """How many requests the history of the workflow holds."""
    events = (await fleet.handle.fetch_history()).events
    return [event.event_type for event in events].count(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED)


async def test_a_worker_that_missed_a_deploy_does_not_bring_back_its_number(fleet: FleetStage):
    first, second = Asking(fleet, "a"), Asking(fleet, "b")
    await first.ask({"shop": size(2, deploy=1)})
    await second.ask({"shop": size(5, deploy=0)})
    assert (await fleet.state()).projects["shop"].machines == 2
    await second.ask({"shop": size(3, deploy=-5, replaces=1)})
    assert (await fleet.state()).projects["shop"].machines == 3, "the clock of that deploy is behind"


async def test_a_worker_that_joins_takes_what_another_one_has_too_much_of(fleet: FleetStage):
    first, second = Asking(fleet, "a", 2), Asking(fleet, "b", 2)
    projects = {"mail": size(2), "shop": size(2)}
    assert (await first.ask(projects)).shares == projects.fromkeys(projects, 2)
    answer = await second.ask(projects)
    assert (answer.shares, answer.next_within) == ({}, WAITING_INTERVAL)
    await first.ask()
    await first.ask()
    await second.ask()
    assert sorted([*first.shares, *second.shares]) == ["mail", "shop"]


async def test_all_projects_together_keep_to_the_smallest_limit_of_a_worker(fleet: FleetStage):
    first, second = Asking(fleet, "a", max_machines=5), Asking(fleet, "b")
    projects = {"shop": size(3), "mail": size(3, deploy=1)}
    assert (await first.ask(projects)).shares == {"shop": 3, "mail": 2}
    assert (await second.ask(projects)).shares == {}
    first.running = {"mail": 2}
    assert (await second.ask(max_machines=2)).shares == {}
    answer = await first.ask(projects | {"blog": size(1, deploy=2)})
    assert answer.shares == {"mail": 1}, "the second one is to have what is left of the other project"
    first.running = {}
    await first.ask(leaving=True)
    answer = await second.ask(projects, max_machines=2)
    assert answer.shares == {"shop": 1}, "the last answer of the other one still counts"
    await first.ask(leaving=True)
    assert (await second.ask(max_machines=2)).shares == {"mail": 1, "shop": 1}


async def test_a_project_grows_within_the_limit_when_another_has_given_up(fleet: FleetStage):
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


async def test_a_successor_gives_nobody_more_until_old_leases_are_over(environment: WorkflowEnvironment, name: str):
    async with FleetStage(environment.client, name) as fleet:
        await fleet.up(successor=True)
        first, second = Asking(fleet, "a"), Asking(fleet, "b")
        second.shares = {"shop": 1}
        assert (await first.ask({"shop": size(3)})).shares == {}
        assert (await second.ask({"shop": size(3)})).shares == {"shop": 1}
        await environment.sleep(GONE)
        first.projects = None
        assert (await first.ask({"shop": size(3)})).shares == {"shop": 3}


async def test_projects_that_nobody_serves_are_forgotten(fleet: FleetStage):
    first = Asking(fleet, "a")
    await first.ask({"shop": size(2), "mail": size(2)})
    await first.ask({"shop": size(2)})
    await first.ask()
    assert list((await fleet.state()).projects) == ["shop"]


async def test_a_request_without_news_extends_the_lease(fleet: FleetStage, environment: WorkflowEnvironment):
    first, second = Asking(fleet, "a", 4), Asking(fleet, "b", 4)
    await first.ask({"shop": size(2)})
    await first.ask()
    before = (await fleet.state()).members["a"]
    await environment.sleep(GONE - timedelta(seconds=1))
    answer = await first.keep()
    assert (answer.shares, answer.term, answer.next_within) == (None, LEASE_TERM, RENEW_INTERVAL)
    await environment.sleep(GONE - timedelta(seconds=1))
    first.running = {"shop": 1}
    await first.keep()
    member = (await fleet.state()).members["a"]
    assert (member.shares, member.used) == ({"shop": 2}, {"shop": 1})
    assert member.expires_at > before.expires_at + GONE
    await second.ask({"mail": size(1)})
    await first.keep()


async def test_a_request_without_news_is_told_shares_that_have_changed(fleet: FleetStage):
    first, second = Asking(fleet, "a", 2), Asking(fleet, "b", 2)
    projects = {"mail": size(2), "shop": size(2)}
    await first.ask(projects)
    await first.ask()
    await second.ask(projects)
    answer = await first.keep()
    assert len(answer.shares or {}) == 1, "it has to give up a project"
    answer = await second.keep()
    assert (answer.shares, answer.next_within) == (None, WAITING_INTERVAL), "the project is not free yet"
    await first.ask()
    answer = await second.keep()
    assert len(answer.shares or {}) == 1, "the project is free"


async def test_a_deploy_is_told_without_the_other_projects(fleet: FleetStage):
    """By a worker that has told them, and by one that serves the same as another one does."""
    first, second = Asking(fleet, "a", 2), Asking(fleet, "b", 2)
    before = {"mail": size(1), "shop": size(1), "old": size(1)}
    await first.ask(before)
    second.projects = before
    await second.ask()
    after = {"mail": size(1), "shop": size(2, deploy=1), "new": size(1, deploy=1)}
    request = second.request(after)
    assert set(request.changes) == {"shop", "new", "old"}
    await second.ask(after)
    state = await fleet.state()
    assert state.lists[state.members["b"].serves] == ("mail", "new", "shop")
    assert {name: each.machines for name, each in state.projects.items()} == {"mail": 1, "shop": 2, "new": 1, "old": 1}
    await first.ask(after)
    state = await fleet.state()
    assert list(state.lists.values()) == [("mail", "new", "shop")]


async def test_a_request_with_an_unknown_base_is_refused_without_an_event(
    fleet: FleetStage, environment: WorkflowEnvironment
):
    first = Asking(fleet, "a")
    first.projects = {"shop": size(2)}
    assert await refused(first.ask()) == UNKNOWN, "nobody has told this list"
    first.projects = None
    await first.ask({"shop": size(2)})
    accepted = await _accepted(fleet)
    await environment.sleep(GONE)
    assert await refused(first.ask(held=None)) == UNKNOWN, "it must say again what it holds, as its lease has ended"
    assert await refused(first.ask({"shop": size(3, deploy=1)})) == UNKNOWN, "and what it serves"
    assert await _accepted(fleet) == accepted == 1


async def test_it_goes_on_with_a_fresh_history_and_forgets_nothing(fleet: FleetStage, environment: WorkflowEnvironment):
    first, second = Asking(fleet, "a"), Asking(fleet, "b")
    projects = {f"p{number}": size(1) for number in range(3)}
    await first.ask(projects)
    await second.ask(projects)
    before = await fleet.state()
    run_id = (await fleet.handle.describe()).run_id
    for _ in range(LONG_HISTORY // 4):
        await first.ask()
        if (await fleet.handle.describe()).run_id != run_id:
            break
    else:
        pytest.fail("the history has become long")
    started = (await fleet.handle.fetch_history()).events[0].workflow_execution_started_event_attributes
    (handed_over,) = await environment.client.data_converter.decode(started.input.payloads, [FleetInput])
    assert list(handed_over.state.lists.values()) == [tuple(projects)], "both serve the same projects"
    after = await fleet.state()
    assert after.projects == before.projects
    assert after.members["b"] == before.members["b"]
    assert (await first.ask()).shares == {"p0": 1, "p1": 1, "p2": 1}


async def test_a_new_build_gives_nobody_more_until_it_has_answered_all_others(tmp_path: Path):
    """The build before has given a worker more than this one would: a replay of it does not show that."""

    def all_to_the_first(sizes: Mapping[str, int], members: Mapping[str, Member]) -> Shares:
        return {name: dict(sizes) if name == "a" else {} for name in members}

    async with dev_server(tmp_path) as server, FleetStage(await dev_client(server), "fleet") as fleet:
        with pytest.MonkeyPatch.context() as other_build:
            other_build.setattr(workflows.allocation, "allocate", all_to_the_first)
            other = await fleet.up(build_id="other")
            first, second = Asking(fleet, "a", 2), Asking(fleet, "b", 2)
            await second.ask({"shop": size(4)})
            assert (await first.ask({"shop": size(4)})).shares == {"shop": 4}
            await other.shutdown()
        await fleet.serve(build_id="this")
        answer = await second.keep()
        assert (answer.shares, answer.next_within) == ({}, WAITING_INTERVAL), "the first one may use all of them"
        assert (await first.ask()).shares == {"shop": 2}
        first.running = {}
        await first.ask()
        assert (await second.ask()).shares == {"shop": 2}


async def refused(asking: Awaitable[object]) -> str | None:
    """The type of the error with which a request is refused."""
    with pytest.raises(WorkflowUpdateFailedError) as refusal:
        await asking
    assert isinstance(refusal.value.cause, ApplicationError)
    return refusal.value.cause.type
