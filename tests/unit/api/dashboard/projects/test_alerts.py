"""Who looks at a project sees which of its rules are broken (docs/contract.md, section 24)."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from callboard.schemas.workflow.alert import Alert, AlertRule
from tests.support.api_in_process import Api, deploy_project
from tests.support.constants import WORKSPACE
from tests.support.dashboard_client import Pages

RULE = {"failures": 2, "within": "90m"}
AT = datetime(2026, 12, 1, 10, tzinfo=UTC)


def alert(number: int, closed_at: datetime | None = None, *, failures: int = 2, rate: bool = False) -> Alert:
    within = AlertRule(failures=failures, within=timedelta(minutes=90))
    rule = AlertRule(success_rate=0.9, of=20) if rate else within
    return Alert(id=f"al_{number}", rule=rule, runs=(f"run-{number}",), opened_at=AT, closed_at=closed_at)


async def list_alerts(api: Api) -> list[dict[str, Any]]:
    answer = await api.client.get(f"/api/v1/workspace/{WORKSPACE}/projects/shop/alerts")
    assert answer.status_code == 200, answer.text
    return answer.json()["alerts"]


async def test_alerts_are_listed_and_shown_with_the_open_ones_first(api: Api, pages: Pages, tmp_path: Path):
    api.alerts.known = [alert(1, AT), alert(2), alert(3, AT, rate=True), alert(4, failures=9)]
    assert await list_alerts(api) == [], "the project has no rule"
    told = {**RULE, "url": "https://hook.example/?t0p-s3cret"}
    await deploy_project(tmp_path / "with", api.store, projectName="shop", alerts=[told])
    listed = await list_alerts(api)
    assert [each["id"] for each in listed] == ["al_2", "al_3", "al_1"], "al_4 is of a rule that is gone"
    assert listed[0] == {
        "id": "al_2",
        "rule": RULE,
        "runs": ["run-2"],
        "openedAt": "2026-12-01T10:00:00Z",
        "closedAt": None,
    }
    text = (await pages.get("/projects/shop")).text
    assert "2 failures within 90m." in text
    assert "Success rate under 0.9 of 20 Runs: " in text
    assert 'href="/projects/shop/runs/run-2"' in text
    assert "t0p-s3cret" not in text
