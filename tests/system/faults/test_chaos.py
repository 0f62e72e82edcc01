"""A short run of chaos with everything that a long one has: no promise is broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.checker import check
from tests.chaos.course import Course, execute
from tests.chaos.report import write_report

SHORT = Course(seed=9, seconds=25, fault_every=3, deploy_every=8, clients=8)


@pytest.mark.timeout(600)
async def test_a_short_run_of_chaos_breaks_no_promise(tmp_path: Path) -> None:
    record = await execute(SHORT, tmp_path, print)
    violations = check(record)
    print(report := write_report(record, violations))
    assert not any(violations.values()), report
    assert record.faults != []
    assert len(record.runs) >= SHORT.clients
    assert len(record.executions) >= len([run for run in record.runs if run.told and run.told.status == "completed"])
