"""`callboard alerts`: which rules are broken, in words."""

from tests.support.fake_api import FakeApi

SHARED = {"id": "al_1", "runs": ["r1", "r2"], "openedAt": "2026-12-01T10:00:00Z"}


def test_each_alert_is_a_line_with_its_rule_and_its_runs(api: FakeApi):
    alerts = [
        {**SHARED, "rule": {"failures": 2, "within": "1h"}, "closedAt": None},
        {**SHARED, "rule": {"successRate": 0.9, "of": 20}, "closedAt": "2026-12-01T11:00:00Z"},
    ]
    api.answers = [(200, {"alerts": alerts})]
    _, first, second = api.callboard("alerts", "-p", "shop").stdout.splitlines()
    assert first.startswith("open ")
    assert "2 failures within 1h" in first
    assert second.startswith("closed ")
    assert "success rate under 0.9 of 20" in second
    assert first.endswith("r1, r2")
    assert [asked.path.rpartition("shop/")[2] for asked in api.asked] == ["alerts"]
