from datetime import timedelta

from callboard.schemas.workflow.run import RunStatus
from callboard.temporal.listing import RunPage
from tests.support.api_in_process import IN_USE, KEY, Api
from tests.support.dashboard_client import Pages, browser_client
from tests.support.fleet_stage import fleet_state
from tests.support.in_memory_temporal import BEGAN, line


async def test_every_project_is_listed_with_its_apis(pages: Pages):
    text = (await pages.get("/projects")).text
    assert 'href="/projects/shop"' in text
    assert "products/details" in text
    assert "closed" in text


async def test_the_same_is_told_as_json(api: Api, pages: Pages):
    answers = [
        await pages.get("/projects.json"),
        await pages.get("/projects", headers={"accept": "application/json"}),
        await browser_client(api, **{"x-api-key": KEY, "accept": "application/json"}).get("/projects"),
    ]
    for answer in answers:
        assert answer.headers["content-type"] == "application/json"
        projects = {each["project"]: each for each in answer.json()["projects"]}
        assert projects["shop"]["apis"] == ["list", "products/details"]
        assert projects["members"]["authSessions"] == "API"
        own = (await pages.get("/projects/shop.json")).json()
        assert own.pop("endedByHour")
        assert own == projects["shop"]


async def test_errors_are_told_as_a_page_or_as_json(api: Api, pages: Pages):
    missing = await pages.get("/projects/none")
    assert missing.status_code == 404
    assert missing.headers["content-type"] == "text/html; charset=utf-8"
    assert "There is no project" in missing.text
    told = await pages.get("/projects/none.json")
    assert (told.status_code, told.json()["code"]) == (404, "not-found")
    nobody = await browser_client(api).get("/projects.json")
    assert (nobody.status_code, nobody.json()["code"]) == (401, "unauthorized")
    wrong = await browser_client(api, **{"x-api-key": "wrong"}).get("/projects.json")
    assert wrong.status_code == 401


async def test_what_is_asked_for_again_and_has_not_changed_is_not_sent_again(pages: Pages):
    first = await pages.get("/projects/shop")
    again = await pages.get("/projects/shop", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_serves_assets_as_immutable_at_addresses_of_their_content(api: Api):
    client = browser_client(api)
    text = (await client.get("/sign-in")).text
    address = text.split('rel="stylesheet" href="')[1].split('"')[0]
    style = await client.get(address)
    assert (style.status_code, style.headers["content-type"]) == (200, "text/css; charset=utf-8")
    assert "immutable" in style.headers["cache-control"]
    assert (await client.get("/assets/0000000000000000/pages.css")).status_code == 404


async def test_a_project_tells_how_it_does(api: Api, pages: Pages):
    took = [(RunStatus.COMPLETED, 2), (RunStatus.FAILED, 4), (RunStatus.COMPLETED, 30), (RunStatus.CANCELED, 900)]
    api.run_queries.answer = RunPage(
        tuple(
            line(f"run-{n}", status=status, started_at=BEGAN, ended_at=BEGAN + timedelta(seconds=seconds))
            for n, (status, seconds) in enumerate(took)
        ),
        None,
    )
    assert (await pages.get("/projects/shop.json")).json()["isolation"] is None
    assert "Isolation" not in (await pages.get("/projects/shop")).text
    api.fleet.state = fleet_state({"a": {"shop": 1}}, a=IN_USE | {"isolation": "open"})
    assert "<dt>Isolation</dt><dd>open</dd>" in (await pages.get("/projects/shop")).text
    told = (await pages.get("/projects/shop.json")).json()
    assert told["isolation"] == "open"
    assert (told["machinesBusy"], told["machinesWarm"], told["machinesHeld"], told["waiting"]) == (2, 1, 1, 7)
    assert (round(told["successRate"], 3), told["medianDuration"]) == (0.667, 4)
    assert told["performance"]["list"]["lastRun"]["runId"] == "run-0"
    assert (told["performance"]["list"]["evaluated"], round(told["performance"]["list"]["p95Duration"], 1)) == (3, 27.4)
    assert [run["runId"] for run in told["lastRuns"]] == ["run-0", "run-1", "run-2", "run-3"]
    text = (await pages.get("/projects")).text
    assert "67 %" in text
    assert "2 busy, 1 warm of 1" in text
    assert 'href="/projects/shop/runs/run-0"' in text


async def test_a_project_shows_who_holds_its_machines_and_what_is_missing(api: Api, pages: Pages):
    text = (await pages.get("/projects/shop")).text
    assert "<dt>Machines held</dt>" in text
    assert '1 of 1</span>, by <span class="mono">worker-1</span> (1)' in text
    assert "Machines missing" not in text
    api.fleet.state = fleet_state({"worker-1": {"shop": 0}}, {"shop": 1})
    for path in ("/projects/shop", "/projects"):
        assert (
            "<dt>Machines missing</dt><dd>1 of 1: its workers have no room for more</dd>"
            in (await pages.get(path)).text
        )
    api.fleet.state = None
    for path in ("/projects/shop", "/projects"):
        assert "<dt>Machines held</dt><dd>unknown, as no worker answers</dd>" in (await pages.get(path)).text
