import re
from datetime import timedelta

import pytest

from api.dashboard.rendering import CONTENT_SECURITY_POLICY
from callboard.schemas.workflow.bulk import BulkFailure
from callboard.schemas.workflow.run import ErrorCode, RunCause, RunError, RunOutcome, RunStatus, RunType
from callboard.temporal.listing import RunPage
from tests.support.api_in_process import Api, MakeApi
from tests.support.attempt_artifacts import attempt_record, store_artifact, store_record
from tests.support.dashboard_client import ESCAPED, EVIL, Pages, signed_in_client
from tests.support.delivery_inputs import json_text
from tests.support.fleet_stage import fleet_state
from tests.support.in_memory_temporal import BEGAN, line


async def test_a_page_lists_runs_with_why_and_how_long(api: Api, pages: Pages):
    failed = line(
        "failed-run",
        status=RunStatus.FAILED,
        started_at=BEGAN,
        ended_at=BEGAN + timedelta(seconds=31),
        attempts=2,
        cause=RunCause(code="api-attempts-failed", message=EVIL),
        api=EVIL,
    )
    api.run_queries.answer = RunPage((line("waiting-run"), failed), b"2")
    told = (await pages.get("/projects/shop/runs.json?status=failed&api=list")).json()["runs"]
    assert [run["runId"] for run in told] == ["waiting-run", "failed-run"]
    text = (await pages.get("/projects/shop/runs?status=failed&api=list")).text
    assert 'href="/projects/shop/runs/failed-run"' in text
    assert "31.0 s" in text
    assert ESCAPED in text
    assert EVIL not in text
    assert re.findall(r'name="run" value="([^"]+)"', text) == ["waiting-run", "failed-run"]
    following = re.search(r'id="next" href="([^"]+)"', text)
    assert following
    assert following[1].startswith("?status=failed&amp;api=list&amp;cursor=")
    answer = await pages.get("/projects/shop/runs" + following[1].replace("&amp;", "&"))
    assert answer.status_code == 200
    assert api.run_queries.asked[-1][2] == b"2"
    (wanted, limit, _) = api.run_queries.asked[0]
    assert (wanted.statuses, wanted.apis, limit) == ({RunStatus.FAILED}, {"list"}, 50)


async def test_tags_are_shown_and_lead_to_runs_that_have_them_too(api: Api, pages: Pages):
    api.run_queries.answer = RunPage((line("run-1", tags=("nightly", EVIL)),), b"2")
    text = (await pages.get("/projects/shop/runs?q=+V1+&errorCode=script-timeout&tag=a&tag=&tag=b/c")).text
    (wanted, _, _) = api.run_queries.asked[0]
    assert (wanted.id_prefix, wanted.error_codes, wanted.tags) == ("V1", {ErrorCode.SCRIPT_TIMEOUT}, {"a", "b/c"})
    assert re.findall(r'name="tag" value="([^"]*)"', text) == ["a", "b/c", "", "a", "b/c"], "to filter, and for many"
    assert 'name="q" type="search" value="V1"' in text
    here = "errorCode=script-timeout&amp;tag=a&amp;tag=b%2Fc"
    assert f'href="/projects/shop/runs?{here}&amp;tag=nightly&amp;q=V1"' in text
    assert re.search(r'id="next" href="([^"]+)"', text)[1].startswith(f"?{here}&amp;q=V1&amp;cursor=")  # pyright: ignore[reportOptionalSubscript]
    assert EVIL not in text


async def test_how_long_ago_becomes_a_moment_in_the_address(pages: Pages):
    answer = await pages.get("/projects/shop/runs?within=24h&status=failed")
    assert answer.status_code == 303
    assert re.search(r"\?status=failed&startedAfter=\d{4}-\d\d-\d\dT\d\d%3A", answer.headers["location"])
    assert (await pages.get(answer.headers["location"])).status_code == 200


async def test_fifty_runs_with_their_style_script_and_font_are_a_small_page(api: Api, pages: Pages):
    cause = RunCause(code=ErrorCode.API_ATTEMPTS_FAILED.value, message="m" * 200)
    runs = [line(f"V1StGXR8_Z5jdHi6B-m{n:02}", status=RunStatus.FAILED, cause=cause) for n in range(50)]
    api.run_queries.answer = RunPage(tuple(runs), None)
    text = (await pages.get("/projects/shop/runs")).text
    weight = len(text.encode())
    for address in set(re.findall(r"/assets/[^\"]+", text)):
        weight += len((await pages.get(address)).content)
    assert weight < 170_000


async def test_runs_are_selected_by_boxes_or_by_the_filter(api: Api, pages: Pages):
    token = await pages.token()
    listed = [line("run-1"), line("run-2", parent_run_id="run-1", type=RunType.AUTH_SESSION_VALIDATE)]
    api.run_queries.answer = RunPage(tuple(listed), None)
    data = {"token": token, "run": ["run-1", "run-2"], "status": "failed", "q": ""}
    answer = await pages.post("/projects/shop/runs/bulk/rerun", data=data)
    (bulk,) = api.bulks.started
    assert (answer.status_code, answer.headers["location"]) == (303, f"/projects/shop/runs/bulk/{bulk.bulk_id}")
    (selected, _, _) = api.run_queries.asked[-1]
    assert (selected.run_ids, selected.statuses) == ({"run-1", "run-2"}, frozenset()), "the filter is only shown"
    data = {"token": token, "all": "1", "status": ["pending", ""], "q": "", "tag": "a"}
    assert (await pages.post("/projects/shop/runs/bulk/cancel", data=data)).status_code == 303
    (matching, _, _) = api.run_queries.asked[-1]
    assert (matching.statuses, matching.tags, matching.run_ids) == ({RunStatus.PENDING}, {"a"}, frozenset())
    for nothing in ({}, {"all": "1", "status": "", "q": " "}):
        answer = await pages.post("/projects/shop/runs/bulk/cancel", data={"token": token, **nothing})
        assert (answer.status_code, "Select the Runs" in answer.text) == (400, True)
    assert len(api.bulks.started) == 2


async def test_a_form_that_is_sent_twice_is_one_request(api: Api, pages: Pages):
    api.run_queries.answer = RunPage((line("run-1"),), None)
    text = (await pages.get("/projects/shop/runs?status=failed")).text
    assert text.index("<button disabled hidden>") < text.index('formaction="'), "Enter presses the first one"
    assert text.count("formaction=") == text.count("popover role=") == 4, "and none is pressed before a question"
    (request,) = re.findall(r'name="request" value="([^"]+)"', text)
    data = {"token": await pages.token(), "request": request, "run": ["run-1"]}
    answers = [await pages.post("/projects/shop/runs/bulk/rerun", data=data) for _ in range(2)]
    await pages.post("/projects/shop/runs/bulk/rerun", data={**data, "run": ["run-2"]})
    first, second = [bulk.bulk_id for bulk in api.bulks.started]
    assert [answer.headers["location"].endswith(first) for answer in answers] == [True, True]
    assert first != second


async def test_a_page_follows_many_runs_and_aborts_them(api: Api, pages: Pages):
    failed = BulkFailure(run_id="run-1", message=EVIL)
    bulk_id = await api.start_bulk()
    counts = {"matched": 1_000, "done": 3, "failed": 101}
    started = api.bulks.started[0]
    view = started.view.model_copy(update=counts)
    api.bulks.started[0] = started.model_copy(update={"view": view, "failures": (failed,) * 50})
    address = f"/projects/shop/runs/bulk/{bulk_id}"
    text = (await pages.get(address)).text
    assert (ESCAPED in text, EVIL in text, "the first 50" in text, "104 of 1,000 Runs" in text) == (
        True,
        False,
        True,
        True,
    )
    assert (await pages.post(f"{address}/abort", data={"token": await pages.token()})).headers["location"] == address
    assert f"{address}/abort" not in (await pages.get(address)).text
    assert (await pages.get(f"{address}.json")).json()["status"] == "aborted"


async def test_a_run_is_told_with_its_inputs_and_its_result(api: Api, pages: Pages):
    run_id = await api.run(parameters={"evil": EVIL})
    api.runs.end(run_id, RunOutcome(status=RunStatus.COMPLETED, result=json_text({"also": [EVIL, None, 1.5]})))
    answer = await pages.get(f"/projects/shop/runs/{run_id}")
    assert answer.status_code == 200
    assert "onerror=alert(1)&gt;" in answer.text
    assert "<img src=x" not in answer.text
    assert f'href="/projects/shop/runs/{run_id}/result"' in answer.text
    result = await pages.get(f"/projects/shop/runs/{run_id}/result")
    assert (result.json()["also"][0], "attachment" in result.headers["content-disposition"]) == (EVIL, True)
    for address, headers in ((f"{run_id}.json", {}), (run_id, {"accept": "application/json"})):
        told = (await pages.get(f"/projects/shop/runs/{address}", headers=headers)).json()
        assert (told["runId"], told["status"]) == (run_id, "completed")


async def test_a_result_that_is_a_table_is_shown_as_one(api: Api, pages: Pages):
    run_id = await api.run()
    items = [{"name": f"chair {number}", "price": number} for number in range(300)]
    items += [{"name": EVIL, "sizes": ["S"]}, {"name": "Table", "price": "on request"}]
    api.runs.end(run_id, RunOutcome(status=RunStatus.COMPLETED, result=json_text({"items": items, "total": 302})))

    async def page(query: str = "") -> str:
        text = (await pages.get(f"/projects/shop/runs/{run_id}{query}")).text
        return text[text.index('id="result"') : text.index('id="input-h"')]

    def first_column(text: str) -> list[str]:
        return re.findall(r"<tr><td>(.*?)</td>", text)

    text = await page()
    assert "302 rows; the first 200 are shown" in text
    assert re.findall(r'<th scope="col"><a href="[^"]*">(\w+)</a>', text) == ["name", "price", "sizes"]
    assert first_column(text) == [f"chair {number}" for number in range(200)]
    text = await page("?search=+CHAIR+29&sort=2&order=descending")
    assert first_column(text) == [f"chair {number}" for number in (*range(299, 289, -1), 29)]
    assert "302 rows, 11 of which match" in text
    assert 'aria-sort="descending"' in text
    assert 'href="?search=CHAIR+29&amp;sort=1"' in text
    text = await page("?sort=2&order=descending")
    assert first_column(text)[:2] == ["Table", "chair 299"], "texts come behind numbers"
    assert first_column(await page("?sort=x")) == first_column(await page("?sort=4")) == first_column(await page())
    text = await page("?search=script")
    assert ESCAPED in text
    assert EVIL not in text
    assert "&#34;S&#34;" in text
    answer = await pages.get(f"/projects/shop/runs/{run_id}/rows?format=csv")
    assert answer.text.splitlines()[:2] == ["name,price,sizes", "chair 0,0,"]
    assert answer.headers["content-disposition"] == f'attachment; filename="rows_{run_id}.csv"'


async def test_cells_names_of_columns_and_searches_are_text(api: Api, pages: Pages):
    run_id = await api.run()
    rows = [{EVIL: "javascript:alert(1)", "javascript:alert(2)": EVIL, "nested": {EVIL: [EVIL]}}]
    api.runs.end(run_id, RunOutcome(status=RunStatus.COMPLETED, result=json_text(rows)))
    query = {"search": EVIL, "sort": "2", "order": EVIL}
    answer = await pages.get(f"/projects/shop/runs/{run_id}", params=query)
    assert answer.text.count(f">{ESCAPED}</a></th>") == answer.text.count(f"<td>{ESCAPED}</td>") == 1
    assert f'name="search" value="{ESCAPED}"' in answer.text
    assert "1 row, 1 of which match" in answer.text
    assert "<img src=x" not in answer.text
    links = re.findall(r'href="([^"]*)"', answer.text)
    assert links
    assert not [link for link in links if "alert" in link and not link.startswith("?search=%3C%2Fscript%3E")]
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY


@pytest.mark.parametrize("name", ["tag", "q", "errorCode", "status", "type", "startedAfter", "cursor", "api", "within"])
async def test_a_filter_in_the_address_is_text_whether_it_is_taken_or_refused(pages: Pages, name: str):
    answer = await pages.get("/projects/shop/runs", params={name: EVIL, "canceled": EVIL})
    assert (answer.status_code in (200, 400), "<img src=x" in answer.text) == (True, False)
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY


async def test_a_failed_run_tells_why_and_may_be_started_again(api: Api, pages: Pages):
    run_id = await api.run()
    error = RunError(code=ErrorCode.API_ATTEMPTS_FAILED, category="execution", message=EVIL, details={"n": EVIL})
    api.runs.end(run_id, RunOutcome(status=RunStatus.FAILED, error=error))
    text = (await pages.get(f"/projects/shop/runs/{run_id}")).text
    assert "Error</h2>" in text
    assert ESCAPED in text
    assert EVIL not in text
    again = await pages.send_form(f"/projects/shop/runs/{run_id}/rerun")
    assert again.status_code == 303
    new = again.headers["location"].rpartition("/")[2]
    assert api.runs.entries[new].rerun_of == run_id


async def test_a_run_that_waits_says_for_what_and_can_be_canceled(api: Api, pages: Pages):
    run_id = await api.run()
    api.fleet.state = fleet_state({"a": {"shop": 3}}, a={"busy": {"shop": 2}})
    place = f"/projects/shop/runs/{run_id}"
    text = (await pages.get(place)).text
    assert "4 Runs are ahead of it, 2 of 3 Machines are busy" in text
    assert "Waiting for a Machine." in text
    api.runs.paused.add(run_id)
    text = (await pages.get(place)).text
    assert "Paused in Temporal." in text
    assert "Waiting for a Machine." not in text
    answer = await pages.send_form(f"{place}/cancel")
    assert answer.headers["location"] == place
    assert '<p class="mono word wished">cancelled-user-action</p>' in (await pages.get(place)).text


@pytest.mark.parametrize("field", ["result", "extended_payloads"])
async def test_half_a_surrogate_pair_of_a_run_is_shown_escaped(api: Api, pages: Pages, field: str):
    value = [{"key \udc00": "half \ud800 <b>", "back": "\\ud800", "whole": "\U0001f600"}]
    run_id = await api.run()
    api.runs.end(run_id, RunOutcome.model_validate({"status": RunStatus.COMPLETED, field: json_text(value)}))
    answer = await pages.get(f"/projects/shop/runs/{run_id}")
    assert answer.status_code == 200
    for shown in ("key \\udc00", "half \\ud800 &lt;b&gt;", "&#34;\\\\ud800&#34;", "\U0001f600"):
        assert shown in answer.text
    cause = RunCause(code="api-attempts-failed", message="half \ud800")
    api.run_queries.answer = RunPage((line("failed-run", status=RunStatus.FAILED, cause=cause),), None)
    assert "half \\ud800" in (await pages.get("/projects/shop/runs")).text
    assert (await pages.get("/projects/shop/runs.json")).json()["runs"][0]["error"]["message"] == "half \ud800"


async def test_the_log_of_an_attempt_is_a_text_that_browsers_show(api: Api, pages: Pages):
    run_id = await api.run()
    await store_record(api, attempt_record(run_id))
    await store_artifact(api, run_id, 1, "log.jsonl", b"{}\n")
    answer = await pages.get(f"/projects/shop/runs/{run_id}/attempts/1/log")
    assert (answer.headers["content-type"], answer.text) == ("text/plain; charset=utf-8", "{}\n")


@pytest.mark.parametrize(("template", "link"), [(None, None), ("https://t.example/{trace_id}?x=1&y", "t.example")])
async def test_the_opentelemetry_trace_of_a_run_is_named_and_linked(
    make_api: MakeApi, template: str | None, link: str | None
):
    api: Api = await make_api(otel_trace_url=template)
    api.run_queries.trace_id = trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    run_id = await api.run()
    client = await signed_in_client(api)
    text = (await client.get(f"/projects/shop/runs/{run_id}")).text
    assert "OpenTelemetry trace" in text
    assert trace_id in text
    assert (f'<a href="https://t.example/{trace_id}?x=1&amp;y" rel="noreferrer">{trace_id}</a>' in text) is bool(link)
