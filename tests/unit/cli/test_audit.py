"""`callboard audit`: who has changed what, page by page, for people and as JSON."""

import json
from typing import Any

from tests.support.fake_api import FakeApi


def entry(**fields: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "time": "2026-11-29T10:00:00.123456Z",
        "action": "run.start",
        "actor": {"id": "Zk3vT9qLm2Xa", "name": "nightly", "signedIn": False},
        "project": "shop",
        "ids": {"runId": "r1"},
        "status": 201,
        "refusedAction": None,
        "missingScope": None,
        "client": "203.0.113.7",
        "request": "POST /…/run/start",
        "correlationId": "3f1c",
    }
    return {**known, **fields}


def test_entries_are_asked_for_by_filters_until_there_are_enough(api: FakeApi):
    api.answers = [
        (200, {"entries": [], "nextCursor": "c1"}),
        (200, {"entries": [entry(), entry(ids={"runId": "r2"})], "nextCursor": "c2"}),
    ]
    filters = ("-f", "project=shop", "-f", "action=run.start", "-f", "since=2026-11-29T00:00:00Z")
    answer = json.loads(api.callboard("audit", "-l", "2", "--json", *filters).stdout)
    assert [each["ids"]["runId"] for each in answer["entries"]] == ["r1", "r2"]
    assert answer["nextCursor"] == "c2"
    first, second = (asked.path for asked in api.asked)
    assert first.startswith("audit?")
    assert all(part in first for part in ("project=shop", "action=run.start", "since=2026-11-29T00", "limit=2"))
    assert "cursor=c1" in second


def test_people_see_who_was_refused_what(api: FakeApi):
    refused = entry(
        action="refusal",
        actor={"id": "unknown", "name": None, "signedIn": False},
        project=None,
        ids={},
        status=403,
        refusedAction="job.delete",
        missingScope="jobs",
    )
    api.answers = [(200, {"entries": [entry(status=None), refused], "nextCursor": None})]
    said = api.callboard("audit").stdout
    assert "nightly (Zk3vT9qLm2Xa)" in said
    assert "Run r1" in said
    assert "client left" in said
    assert "job.delete, the scope jobs is missing" in said


def test_a_filter_that_entries_do_not_have_is_refused(api: FakeApi):
    for wrong in ("who=me", "since>=2026-11-29T00:00:00Z", "project"):
        assert api.error("audit", "-f", wrong)[0] == 2
    assert api.asked == []
