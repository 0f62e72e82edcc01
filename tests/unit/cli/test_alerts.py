"""`callboard alerts`: which rules are broken, in words."""

from datetime import timedelta

import pytest

from callboard.schemas.workflow.alert import Alert, AlertRule
from tests.support.api_in_process import Api, MakeApi
from tests.support.commands import Commands
from tests.support.in_memory_temporal import BEGAN

TO = {"url": "https://hook.example/"}
RULES = [{"failures": 2, "within": "1h", **TO}, {"successRate": 0.9, "of": 20, **TO}]


@pytest.fixture
async def api(make_project_api: MakeApi) -> Api:
    return await make_project_api({"alerts": RULES})


async def test_each_alert_is_a_line_with_its_rule_and_its_runs(api: Api, cli: Commands):
    rate, failures = AlertRule(success_rate=0.9, of=20), AlertRule(failures=2, within=timedelta(hours=1))
    api.alerts.known = [
        Alert(id="al_1", rule=failures, runs=("r1", "r2"), opened_at=BEGAN),
        Alert(id="al_2", rule=rate, runs=("r1", "r2"), opened_at=BEGAN, closed_at=BEGAN + timedelta(hours=1)),
    ]
    _, first, second = (await cli.said("alerts", "-p", "shop")).splitlines()
    assert first.startswith("open ")
    assert "2 failures within 1h" in first
    assert second.startswith("closed ")
    assert "success rate under 0.9 of 20" in second
    assert first.endswith("r1, r2")
