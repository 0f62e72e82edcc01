"""What the artifact store holds of each project, as a call and on the page of the fleet."""

from __future__ import annotations

from callboard.schemas.workflow.sweep import Stored, StoredKind, SweepTotals
from callboard.temporal.sweep_schedule import SweepReport
from tests.support.api_in_process import Api
from tests.support.constants import WORKSPACE
from tests.support.dashboard_client import Pages
from tests.support.in_memory_temporal import BEGAN

PLACE = f"/api/v1/workspace/{WORKSPACE}/storage"


async def test_what_the_last_sweep_has_counted_is_told_by_project_and_kind(api: Api, pages: Pages):
    assert (await api.client.get(PLACE)).json() == {"countedAt": None, "projects": []}
    assert "not counted yet" in (await pages.get("/fleet")).text
    stored: Stored = {
        "books": {StoredKind.RUNS: (2, 10)},
        "shop": {StoredKind.LOGS: (3, 30), StoredKind.TRACES: (1, 5_000_000)},
    }
    api.sweeps.report = SweepReport(BEGAN, SweepTotals(stored=stored))
    answer = (await api.client.get(PLACE)).json()
    assert answer["countedAt"] == "2026-11-24T10:00:00Z"
    assert [(each["project"], each["objects"], each["bytes"]) for each in answer["projects"]] == [
        ("shop", 4, 5_000_030),
        ("books", 2, 10),
    ]
    assert answer["projects"][1]["kinds"] == {"runs": {"objects": 2, "bytes": 10}}
    text = (await pages.get("/fleet")).text
    assert text.index("traces") < text.index("logs"), "what is largest comes first"
