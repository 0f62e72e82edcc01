"""The faults of a run of chaos follow from its seed."""

from __future__ import annotations

from tests.chaos.schedule import APIS, CONTROL, SERVERS, WORKERS, Act, plan_faults

HOUR = 3600.0


def test_the_same_seed_gives_the_same_faults_and_another_seed_others() -> None:
    assert plan_faults(7, HOUR, every=6) == plan_faults(7, HOUR, every=6)
    assert plan_faults(7, HOUR, every=6) != plan_faults(8, HOUR, every=6)


def test_every_part_is_harmed_in_every_way_and_all_ends_in_time() -> None:
    faults = plan_faults(7, HOUR, every=6)
    assert {fault.part for fault in faults} == {*WORKERS, *APIS, CONTROL, *SERVERS}
    assert {fault.act for fault in faults} == set(Act)
    assert [fault.at for fault in faults] == sorted(fault.at for fault in faults)
    assert all(fault.at + fault.seconds <= HOUR for fault in faults)
    cut = {(fault.part, fault.of) for fault in faults if fault.act in {Act.REFUSE, Act.SILENCE}}
    assert cut == {(part, server) for part in (*WORKERS, *APIS, CONTROL) for server in SERVERS}
