"""Who may have how many Machines: properties of every allocation, and the choices that are made."""

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from workflows.allocation import Member, Shares, allocate, limit_sizes

PROJECTS = ["blog", "mail", "news", "shop"]
project_names: st.SearchStrategy[str] = st.sampled_from(PROJECTS)
sizes_of_projects = st.dictionaries(project_names, st.integers(1, 9))
counts = st.dictionaries(project_names, st.integers(0, 9))


@st.composite
def member(draw: st.DrawFn) -> Member:
    return Member(
        capacity=draw(st.integers(0, 12)),
        projects=frozenset(draw(st.sets(project_names))),
        most_per_project=draw(st.none() | st.integers(1, 5)),
        shares=draw(counts),
        used=draw(counts),
    )


fleets = st.dictionaries(st.sampled_from(("a", "b", "c", "d")), member())


def following(members: dict[str, Member], shares: Shares) -> dict[str, Member]:
    """The same workers, once they have these shares."""
    return {name: dataclasses.replace(member, shares=shares[name]) for name, member in members.items()}


def limit(size: int, member: Member) -> int:
    return min(size, member.capacity, member.capacity if member.most_per_project is None else member.most_per_project)


@given(sizes_of_projects, st.none() | st.integers(0, 40))
def test_the_largest_projects_give_until_all_are_within_the_limit(sizes: dict[str, int], limit: int | None):
    limited = limit_sizes(sizes, limit)
    wanted = sum(sizes.values())
    assert list(limited) == list(sizes)
    assert sum(limited.values()) == (wanted if limit is None else min(wanted, limit))
    assert all(0 <= limited[project] <= size for project, size in sizes.items())
    most = max(limited.values(), default=0)
    assert all(count >= most - 1 for project, count in limited.items() if count < sizes[project])


def test_what_cannot_be_divided_is_for_the_first_projects():
    assert limit_sizes({"shop": 5, "mail": 1, "blog": 5}, 6) == {"shop": 3, "mail": 1, "blog": 2}
    assert limit_sizes({"shop": 2, "mail": 2, "blog": 2}, 2) == {"shop": 1, "mail": 1, "blog": 0}


@given(sizes_of_projects, fleets)
def test_no_project_and_no_worker_gets_more_than_it_may(sizes: dict[str, int], members: dict[str, Member]):
    shares = allocate(sizes, members)
    assert shares.keys() == members.keys()
    for project, size in sizes.items():
        assert sum(share.get(project, 0) for share in shares.values()) <= size
    for name, share in shares.items():
        assert share.keys() <= members[name].projects & sizes.keys()
        assert all(0 < count <= limit(sizes[project], members[name]) for project, count in share.items())


@given(sizes_of_projects, fleets)
def test_nothing_is_left_over_that_a_worker_could_have(sizes: dict[str, int], members: dict[str, Member]):
    shares = allocate(sizes, members)
    for project, size in sizes.items():
        able = sum(limit(size, member) for member in members.values() if project in member.projects)
        assert sum(share.get(project, 0) for share in shares.values()) == min(size, able)


@given(sizes_of_projects, fleets)
def test_once_everybody_has_followed_nothing_moves_any_more(sizes: dict[str, int], members: dict[str, Member]):
    shares = allocate(sizes, members)
    idle = {name: dataclasses.replace(member, used={}) for name, member in members.items()}
    shares = allocate(sizes, following(idle, shares))
    assert allocate(sizes, following(idle, shares)) == shares


@given(sizes_of_projects, fleets)
def test_an_accepted_attempt_gets_its_machine_before_one_that_may_come(
    sizes: dict[str, int], members: dict[str, Member]
):
    shares = allocate(sizes, members)
    for project in sizes:
        holders = {name: member for name, member in members.items() if project in member.projects}
        short = [
            name
            for name, member in holders.items()
            if shares[name].get(project, 0) < min(member.used.get(project, 0), limit(sizes[project], member))
        ]
        spare = [name for name, member in holders.items() if shares[name].get(project, 0) > member.used.get(project, 0)]
        assert not (short and spare), (short, spare)


@given(st.dictionaries(project_names, st.integers(1, 2)), fleets, st.integers(1, 12))
def test_a_worker_that_joins_takes_no_small_project_where_there_is_room(
    sizes: dict[str, int], members: dict[str, Member], capacity: int
):
    before = allocate(sizes, members)
    before = allocate(sizes, following(members, before))
    members = following(members, before)
    members["new"] = Member(capacity, frozenset(PROJECTS))
    after = allocate(sizes, members)
    for name, share in before.items():
        if sum(share.values()) <= members[name].capacity and members[name].used == {}:
            assert all(after[name].get(project, 0) >= count for project, count in share.items())


def test_a_small_project_is_placed_on_the_one_worker_with_most_room():
    members = {"a": Member(4, frozenset({"shop", "mail"})), "b": Member(5, frozenset({"shop", "mail"}))}
    assert allocate({"shop": 2, "mail": 2}, members) == {"a": {"shop": 2}, "b": {"mail": 2}}


def test_a_larger_project_is_spread_over_the_workers_that_have_room():
    shop = frozenset({"shop"})
    members = {"a": Member(4, shop), "b": Member(4, shop), "c": Member(4, shop)}
    assert allocate({"shop": 6}, members) == {"a": {"shop": 2}, "b": {"shop": 2}, "c": {"shop": 2}}
    members = {"a": Member(2, shop), "b": Member(8, shop)}
    assert allocate({"shop": 10}, members) == {"a": {"shop": 2}, "b": {"shop": 8}}


def test_a_larger_project_goes_to_the_workers_with_most_room():
    both = frozenset({"shop", "mail"})
    members = {"a": Member(4, both, shares={"mail": 4}, used={"mail": 4}), "b": Member(4, both)}
    members |= {name: Member(8, both) for name in ("c", "d", "e")}
    shares = allocate({"mail": 4, "shop": 3}, members)
    assert shares == {"a": {"mail": 4}, "b": {}, "c": {"shop": 1}, "d": {"shop": 1}, "e": {"shop": 1}}


def test_a_worker_that_joins_takes_what_is_unused_of_a_larger_project():
    shop = frozenset({"shop"})
    members = {"a": Member(8, shop, shares={"shop": 6}), "b": Member(8, shop)}
    assert allocate({"shop": 6}, members) == {"a": {"shop": 3}, "b": {"shop": 3}}
    members["a"] = dataclasses.replace(members["a"], used={"shop": 5})
    assert allocate({"shop": 6}, members) == {"a": {"shop": 5}, "b": {"shop": 1}}


def test_idle_projects_are_spread_over_workers_that_have_room_for_none():
    names = frozenset(f"p{number:03}" for number in range(300))
    sizes = dict.fromkeys(names, 1)
    shares = allocate(sizes, {"a": Member(4, names)})
    assert len(shares["a"]) == 300
    members = {"a": Member(4, names, shares=shares["a"]), "b": Member(8, names)}
    shares = allocate(sizes, members)
    assert [len(shares[name]) for name in ("a", "b")] == [100, 200]
    assert allocate(sizes, following(members, shares)) == shares
