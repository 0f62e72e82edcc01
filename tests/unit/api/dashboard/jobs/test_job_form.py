"""The form that makes and edits Jobs: over the calls of REST, as a browser without script sends it."""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from api.jobs.form import know_job
from callboard.projects.job_definition import read_definition
from callboard.schemas.workflow.job import JobDefinition, JobSource
from callboard.storage import object_keys
from callboard.storage.job_payloads import stream_payload
from tests.support.api_in_process import Api, MakeApi
from tests.support.dashboard_client import Pages, signed_in_client

PATH = "/projects/shop/jobs"
NEW = "/projects/shop/new-job"
EDIT = f"{PATH}/nightly/edit"
HOOK = "https://93.184.215.14/in?k=secret-1"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "pages": {"type": "integer"},
        "kind": {"enum": ["new", "old"]},
        "exact": {"type": "boolean"},
        "where": {"type": "array", "items": {"type": "string"}},
    },
}
EVERYTHING: list[dict[str, Any]] = [
    {},
    {
        "configuration": {
            "maxConcurrentRequests": 5.0,
            "requestTimeout": 600,
            "maxRuns": 7,
            "saveTrace": True,
            "retry": {"maximumAttempts": 3, "initialInterval": "1 minute", "backoffCoefficient": 1.5},
            "proxy": "http://user:secret-2@93.184.215.14:3128",
        },
        "tags": ["a", "b:c"],
        "sink": {"type": "webhook", "url": HOOK, "headers": {"X-Key": "secret-3"}, "apisToSend": []},
        "notifications": [
            {"type": "webhook", "url": HOOK, "headers": {"X-Key": "secret-4", "X-Other": "secret-5"}},
            {"type": "webhook", "url": "https://93.184.215.14/ended"},
        ],
        "schedule": {"calendars": [{"hour": 6}, {"hour": 18}], "timezone": "Europe/Berlin", "jitter": 5000},
        "payload": [{"apiName": "list", "parameters": {"ä": "\u2028", "n": 1.0}, "tags": ["x"], "retry": {}}],
    },
    {
        "sink": {
            "type": "s3",
            "bucket": "results",
            "region": "eu-central-1",
            "prefix": "a/b",
            "accessKeyId": "secret-6",
            "secretAccessKey": "secret-7",
            "skipOnFail": True,
            "apisToSend": ["list", "my list"],
        },
        "schedule": {"calendars": [{"minute": {"start": 0, "end": 59, "step": 7}, "hour": "*", "comment": "often"}]},
        "payload": [{"apiName": "list", "parameters": {"n": n}} for n in range(1200)],
    },
    {"schedule": {"intervals": [{"every": 5_400_000}], "catchupWindow": "1h"}, "payload": []},
    {"schedule": {"cron": ["0 6 1 * *", "30 18 * * FRI"], "overlap": "skip"}},
    {"schedule": {"overlap": "queue"}, "configuration": {"saveTrace": "on-failure", "requestTimeout": 90}},
]


@pytest.fixture
async def make_described(make_project_api: MakeApi) -> Callable[[], Awaitable[Api]]:
    """Makes an application over a project whose API `list` says what it takes."""

    async def make() -> Api:
        api = await make_project_api({})
        key = object_keys.input_schemas("shop", (await api.ask(""))["version"])
        await api.store.put(key, json.dumps({"apis": {"list": {"inputSchema": SCHEMA}}}).encode())
        return api

    return make


async def definition(api: Api, job_id: str = "nightly") -> JobDefinition:
    return await read_definition(api.store, "shop", job_id, api.jobs.known["shop", job_id].ref.definition)


async def stored(api: Api, job_id: str = "nightly") -> Any:
    """All that is stored of a Job, with its secrets opened."""
    known = await definition(api, job_id)
    names = {"ref", "sink", "proxy", "notifications"}  # what is another one each time it is sealed
    payload = b"".join([chunk async for chunk in stream_payload(api.store, known)])
    return known.model_dump(exclude=names), know_job(known, api.services.ring).opened, payload


async def created(api: Api, pages: Pages, file: tuple[str, bytes] | None = None, /, **fields: str) -> Any:
    """Make a Job by the form, with these fields, and return it as REST does."""
    given = {"id": "nightly", **fields}
    answer = await pages.send_form_of((await pages.get(NEW)).text, file, **given)
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"] == f"{PATH}/{given['id']}?done=create"
    return await api.ask(f"jobs/{given['id']}")


def beside(text: str, where: str) -> str:
    found = re.search(rf'id="e-{re.escape(where)}">(.*?)</p>', text)
    assert found, text
    return found[1]


async def test_a_job_is_made_of_what_the_form_says(api: Api, pages: Pages):
    job = await created(
        api,
        pages,
        source="lines",
        lines='{"apiName": "list", "parameters": {"n": 1}}\r\n\r\n{"apiName": "list", "parameters": {"n": 2}}',
        when="times",
        times="06:30 18:00",
        days="MONDAY",
        timezone="Europe/Berlin",
        jitter="5 minutes",
        maxConcurrentRequests="3",
        maximumAttempts="2",
        initialInterval="90 seconds",
        tags="nightly, shop",
        sink="webhook",
        url="https://93.184.215.14/in",
        headers='{"x-key": "k"}',
        **{"notificationUrl-0": "https://93.184.215.14/ended"},
    )
    at = {"dayOfWeek": "MONDAY"}
    assert job["schedule"] == {
        "calendars": [{"hour": 6, "minute": 30, **at}, {"hour": 18, "minute": 0, **at}],
        "timezone": "Europe/Berlin",
        "jitter": "5 minutes",
    }
    assert job["configuration"] == {
        "maxConcurrentRequests": 3,
        "retry": {"maximumAttempts": 2, "initialInterval": 90},
    }
    assert [item["parameters"] for item in job["payload"]] == [{"n": 1}, {"n": 2}]
    assert (job["tags"], job["sink"]["headers"]) == (["nightly", "shop"], {"x-key": "***"})
    assert [each["url"] for each in job["notifications"]] == ["https://93.184.215.14/ended"]
    assert "The Job was created." in (await pages.get(f"{PATH}/nightly?done=create")).text


async def test_a_job_that_is_saved_as_it_is_stays_as_it_is(api: Api, pages: Pages):
    for number, fields in enumerate(EVERYTHING):
        job_id = f"job-{number}"
        await api.create_job(job_id, **fields)
        before, ref = await stored(api, job_id), (await definition(api, job_id)).ref
        page = (await pages.get(f"{PATH}/{job_id}/edit")).text
        assert "secret-" not in page
        answer = await pages.send_form_of(page)
        assert (answer.status_code, answer.headers.get("location")) == (303, f"{PATH}/{job_id}?done=update"), fields
        assert await stored(api, job_id) == before
        assert (await definition(api, job_id)).ref != ref


async def test_a_job_that_logs_in_stays_as_it_is(make_project_api: MakeApi):
    api = await make_project_api({"authSessions": {"enabled": True, "type": "API"}}, project="members")
    api.add_auth_session()
    pages = await signed_in_client(api)
    auth = {"id": "anna", "checkAttempts": 2, "saveTrace": True, "lease": "exclusive"}
    await api.create_job(project="members", auth_session=auth)
    page = (await pages.get("/projects/members/jobs/nightly/edit")).text
    assert (await pages.send_form_of(page, checkAttempts="4")).status_code == 303
    job = await api.ask("jobs/nightly", "members")
    assert job["auth_session"] == auth | {"checkAttempts": 4, "createAttempts": 3}


async def test_a_secret_stays_as_long_as_it_goes_where_it_went(api: Api, pages: Pages):
    await api.create_job(**EVERYTHING[1])
    page = (await pages.get(EDIT)).text
    answer = await pages.send_form_of(page, skipOnFail="true", headers='{"X-Key": "***", "X-New": "n"}', tags="c")
    assert answer.status_code == 303, answer.text
    opened = know_job(await definition(api), api.services.ring).opened
    assert (opened["sink"]["url"], opened["sink"]["headers"]) == (HOOK, {"X-Key": "secret-3", "X-New": "n"})
    assert (opened["sink"]["skipOnFail"], opened["tags"]) == (True, ["c"])
    page = (await pages.get(EDIT)).text
    for fields, where in (
        ({"url": "https://1.1.1.1/in"}, "sink-headers"),
        ({"proxy": "http://***@1.1.1.1:3128"}, "proxy"),
        ({"notificationUrl-0": "https://1.1.1.1/in"}, "notifications[0]"),
    ):
        answer = await pages.send_form_of(page, **fields)
        assert answer.status_code == 400
        assert "the secret itself" in beside(answer.text, where)
    assert know_job(await definition(api), api.services.ring).opened == opened


async def test_keys_of_a_bucket_are_not_used_for_another_one(api: Api, pages: Pages):
    await api.create_job(**EVERYTHING[2])
    page = (await pages.get(EDIT)).text
    answer = await pages.send_form_of(page, bucket="others")
    assert (answer.status_code, beside(answer.text, "sink-accessKeyId")) == (400, "Expected the secret itself.")
    assert (await pages.send_form_of(page, prefix="c")).status_code == 303
    sink = know_job(await definition(api), api.services.ring).opened["sink"]
    assert (sink["prefix"], sink["accessKeyId"], sink["secretAccessKey"]) == ("c", "secret-6", "secret-7")
    assert sink["apisToSend"] == ["list", "my list"]
    assert (await definition(api)).payload_count == 1200, "a long payload is kept, and not shown"


async def test_a_row_of_the_table_is_an_item(make_described: Callable[[], Awaitable[Api]]):
    api = await make_described()
    pages = await signed_in_client(api)
    page = (await pages.send_form_of((await pages.get(f"{NEW}?api=list")).text, do="rows", id="nightly")).text
    assert re.findall(r'value="(remove-\d+)"', page)[-1] == "remove-10"
    cells = {"cell-0-city": "é", "cell-1-pages": "3", "cell-1-kind": '"old"', "cell-1-exact": "true"}
    for _ in range(8):
        page = (await pages.send_form_of(page, do="remove-2", **cells)).text
    assert 'name="cell-0-city" aria-label="city of item 1" type="text" value="é"' in page
    wrong = await pages.send_form_of(page, **{"cell-2-pages": "many", "cell-2-where": '["x"]'})
    assert beside(wrong.text, "payload") == "<code>payload[2].parameters.pages</code> Expected integer."
    answer = await pages.send_form_of(wrong.text, **{"cell-2-pages": ""})
    assert answer.status_code == 303, answer.text
    job = await api.ask("jobs/nightly")
    parameters = [{"city": "é"}, {"pages": 3, "kind": "old", "exact": True}, {"where": ["x"]}]
    assert job["payload"] == [{"apiName": "list", "parameters": each} for each in parameters]
    before = await stored(api)
    edit = (await pages.get(EDIT)).text
    assert '<option value="table" selected>' in edit
    assert (await pages.send_form_of(edit)).status_code == 303
    assert await stored(api) == before
    other = await pages.send_form_of((await pages.get(EDIT)).text, api="products/details")
    assert (other.status_code, "products/details now" in other.text) == (400, True)


async def test_items_come_from_a_file(make_described: Callable[[], Awaitable[Api]]):
    api = await make_described()
    pages = await signed_in_client(api)
    for job_id, name, content, parameters in (
        ("lines", "items.jsonl", b'{"apiName": "list", "parameters": {"n": 1}}\n', [{"n": 1}]),
        ("array", "items.json", b'\xef\xbb\xbf [{"apiName": "list", "parameters": {"n": 1}}]', [{"n": 1}]),
        (
            "csv",
            "ITEMS.CSV",
            b'city,pages,kind,more\n"a, b",2,old,01\n\nc,,,[1]\n',
            [{"city": "a, b", "pages": 2, "kind": "old", "more": "01"}, {"city": "c", "more": [1]}],
        ),
    ):
        job = await created(api, pages, (name, content), id=job_id, source="file", api="list")
        assert [item["parameters"] for item in job["payload"]] == parameters


WRONG: list[tuple[dict[str, str], tuple[str, bytes] | None, str, str]] = [
    ({"id": "a b"}, None, "id", "an id of 1 to 128 characters"),
    ({"source": "lines", "lines": '{"apiName": "list", "parameters": {}}\n{oh'}, None, "payload", "Line 2: "),
    ({"source": "lines", "lines": '{"apiName": "lisp", "parameters": {}}'}, None, "payload", "has no API"),
    ({"source": "lines", "lines": '[{"apiName": "list"}]'}, None, "payload", "payload[0].parameters"),
    ({"source": "file"}, None, "payload", "a file with items"),
    ({"source": "file"}, ("a.csv", b"a,b\n1,2,3\n"), "payload", "2 values at most"),
    ({"when": "times", "times": "6:30 24:00"}, None, "schedule-calendars", "such as 06:30 18:00"),
    ({"when": "times", "times": "6:30", "dates": "32"}, None, "schedule-calendars", "from 1 to 31"),
    ({"when": "times", "times": "6:30", "dates": "9" * 5000}, None, "schedule-calendars", "from 1 to 31"),
    ({"when": "every", "every": "", "everyUnit": "hours"}, None, "schedule-intervals", "whole seconds"),
    ({"when": "cron", "cron": "0 6 1 * MON"}, None, "schedule-cron", "*"),
    ({"when": "cron", "cron": "0 6 * * *", "timezone": "Europe/Berln"}, None, "schedule-timezone", "Europe/Berlin"),
    ({"when": "json", "scheduleJson": "{oh"}, None, "schedule", "a JSON object"),
    ({"maximumAttempts": "many"}, None, "configuration-retry-maximumAttempts", "from 1 to 100"),
    ({"sink": "webhook", "url": "http://10.0.0.1/"}, None, "sink-url", "public"),
]
"""Fields of the form, its file, beside what the error stands, and words of it."""


async def test_what_is_wrong_is_said_beside_its_field_and_what_was_typed_stays(api: Api, pages: Pages):
    new, before = (await pages.get(NEW)).text, await api.stored("jobs/shop/")
    for fields, file, where, words in WRONG:
        answer = await pages.send_form_of(new, file, **{"id": "nightly", "tags": "kept", **fields})
        assert answer.status_code == 400, fields
        assert words in beside(answer.text, where)
        assert f'aria-describedby="e-{where}"' in answer.text
        assert 'name="tags" type="text" value="kept"' in answer.text
    assert not api.jobs.known
    assert await api.stored("jobs/shop/") == before, "nothing half-made stays"


async def test_a_form_that_would_keep_the_api_busy_is_refused(api: Api, pages: Pages):
    new = (await pages.get(NEW)).text
    rows = ("a.csv", b"a\n" + b"1\n" * 250_000)
    answer = await pages.send_form_of(new, rows, id="nightly", source="file")
    assert (answer.status_code, "more than 250,000 values" in answer.text) == (413, True)
    slow = {"content-type": "multipart/form-data; boundary=b; charset=punycode"}
    answer = await pages.post(
        NEW, content=b'--b\r\nContent-Disposition: form-data; name="id"\r\n\r\nx\r\n--b--', headers=slow
    )
    assert (answer.status_code, "no charset" in answer.text) == (400, True)


async def test_the_next_ten_times_are_shown_with_their_zone_before_the_job_is_saved(api: Api, pages: Pages):
    new, audited = (await pages.get(NEW)).text, await api.stored("audit/")
    fields = {"when": "cron", "cron": "30 6 * * MON-FRI", "timezone": "Asia/Kolkata", "do": "times"}
    page = (await pages.send_form_of(new, **fields)).text
    times = re.findall(r"<li>((?:Mon|Tue|Wed|Thu|Fri) \d{4}-\d\d-\d\d 06:30:00 IST)</li>", page)
    assert len(times) == 10
    assert "Monday to Friday (Asia/Kolkata)" in page
    assert not api.jobs.known
    wrong = await pages.send_form_of(new, **{**fields, "cron": "soon"})
    assert (wrong.status_code, "five fields" in beside(wrong.text, "schedule-cron")) == (400, True)
    assert await api.stored("audit/") == audited, "nothing was changed"


async def test_a_job_that_has_changed_since_its_form_was_opened_is_not_overwritten(api: Api, pages: Pages):
    await api.create_job()
    page = (await pages.get(EDIT)).text
    assert (await pages.send_form_of(page, tags="first")).status_code == 303
    page = (await pages.send_form_of(page, do="columns", tags="second")).text
    for _ in range(2):
        answer = await pages.send_form_of(page, tags="second")
        assert (answer.status_code, "Somebody has changed Job nightly" in answer.text) == (409, True)
        page = answer.text
    assert (await api.ask("jobs/nightly"))["tags"] == ["first"]


async def test_a_job_that_is_a_file_is_not_edited_here(api: Api, pages: Pages):
    await api.create_job()
    page = (await pages.get(EDIT)).text
    assert f'href="{EDIT}"' in (await pages.get(f"{PATH}/nightly")).text
    ref = api.jobs.known["shop", "nightly"].ref
    api.jobs.change("shop", "nightly", ref=ref.model_copy(update={"source": JobSource.CODE}))
    assert f'href="{EDIT}"' not in (await pages.get(f"{PATH}/nightly")).text
    assert (await pages.get(EDIT)).status_code == 409
    assert (await pages.send_form_of(page)).status_code == 409
