import ast
import json
import re
import shlex
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.dependencies import SINK_TESTS
from callboard.schemas.workflow.delivery import SinkTestOutcome, TryProblem, TryRecord
from callboard.security import seal_context
from callboard.security.keyring import KeyRing
from tests.support.api_in_process import SECRET, Api
from tests.support.constants import WORKSPACE
from tests.support.dashboard_client import Pages


async def send(pages: Pages, project: str = "shop", /, **fields: str) -> Any:
    data = {"api": "list", "parameters": "{}", "do": "start", **fields}
    return await pages.send_form(f"/projects/{project}/playground", **data)


async def test_a_run_is_started_with_what_the_form_says(api: Api, pages: Pages):
    answer = await send(
        pages,
        parameters='{"a": ["é"]}',
        maximumAttempts="2",
        requestTimeout="30",
        saveTrace="on-failure",
        sink="webhook",
        url="https://93.184.215.14/hook",
        headers='{"x-mine": "1"}',
        skipOnFail="true",
        version=(await api.ask(""))["version"],
    )
    assert answer.status_code == 303, answer.text
    run_input = api.input_of(answer.headers["location"].rpartition("=")[2])
    assert json.loads(run_input.parameters.text or "") == {"a": ["é"]}
    assert (run_input.maximum_attempts, run_input.request_timeout.total_seconds()) == (2, 30)
    assert run_input.sink
    assert (run_input.sink.skip_on_fail, run_input.sink.webhook and run_input.sink.webhook.url) == (
        True,
        "https://93.184.215.14/hook",
    )


async def test_the_input_of_a_run_is_edited_beside_its_result(api: Api, pages: Pages):
    started = await send(pages, parameters='{"a": "é"}', maximumAttempts="2", tags="x y")
    page = await pages.get(started.headers["location"])
    assert "No result yet" in page.text
    told = (await pages.get(started.headers["location"].replace("playground", "playground.json"))).json()
    assert (told["run"]["status"], told["api"]) == ("pending", "list")
    assert "&#34;a&#34;: &#34;é&#34;" in page.text
    assert 'name="maximumAttempts" type="number" value="2"' in page.text
    assert 'name="tags" type="text" value="x y"' in page.text


@pytest.mark.parametrize(
    ("fields", "where", "words"),
    [
        ({"parameters": "{oh"}, "parameters", "a JSON object"),
        ({"maximumAttempts": "0"}, "retry-maximumAttempts", "from 1 to 100"),
        ({"sink": "webhook", "url": "http://10.0.0.1/"}, "sink-url", "public"),
        ({"version": "0" * 16}, "version", "no version"),
    ],
)
async def test_what_is_wrong_is_said_beside_its_field(
    api: Api, pages: Pages, fields: dict[str, str], where: str, words: str
):
    answer = await send(pages, **fields)
    assert answer.status_code in (400, 404)
    beside = re.search(rf'id="e-{where}">(.*?)</p>', answer.text)
    assert beside, answer.text
    assert words in beside[1]
    assert f'aria-describedby="e-{where}"' in answer.text
    assert not api.runs.entries


async def test_what_was_written_stays_and_secrets_do_not(pages: Pages):
    answer = await send(
        pages, parameters='{"kept": "</textarea><b>"}', sink="s3", bucket="b", secretAccessKey="never-shown", do="start"
    )
    assert "&lt;/textarea&gt;&lt;b&gt;" in answer.text
    assert "never-shown" not in answer.text


async def test_the_call_is_shown_as_code_and_nothing_is_started(api: Api, pages: Pages):
    parameters = {"quote": "it's $HOME", "none": None, "true": True, "text": "a\nb " * 40}
    fields = {"parameters": json.dumps(parameters), "sink": "webhook", "url": "https://r.example/", "do": "show"}
    answer = await send(pages, **fields, headers='{"authorization": "never-shown"}')
    assert not api.runs.entries
    assert "never-shown" not in answer.text.partition('id="calls"')[2]
    page = re.findall(r'<pre id="call-\d" tabindex="0">(.*?)</pre>', answer.text, re.DOTALL)
    unescape = {"&#34;": '"', "&#39;": "'", "&lt;": "<", "&gt;": ">", "&amp;": "&"}
    curl, python, cli = (re.sub("|".join(unescape), lambda each: unescape[each[0]], code) for code in page)
    words = shlex.split(curl.replace("\\\n", " "))
    assert words[3].endswith("/projects/shop/run/start")
    assert json.loads(words[-1])["parameters"] == parameters
    (body,) = (
        each.value for each in ast.walk(ast.parse(python)) if isinstance(each, ast.keyword) and each.arg == "body"
    )
    assert ast.literal_eval(body) == json.loads(words[-1])
    words = shlex.split(cli.replace("\\\n", " "))
    assert words[:3] == ["callboard", "runs", "start"]
    assert json.loads(words[-1])["parameters"] == parameters


async def test_a_login_is_asked_for_where_one_is_needed(api: Api, pages: Pages):
    refused = await send(pages, "members")
    assert "Auth session is required" in refused.text
    api.add_auth_session()
    assert "anna (ready)" in (await pages.get("/projects/members/playground")).text
    chosen = {"authSessionId": "anna", "lease": "exclusive", "autoRecreate": "false", "checkAttempts": "1"}
    answer = await send(pages, "members", auth="stored", **chosen)
    auth = api.input_of(answer.headers["location"].rpartition("=")[2]).auth
    assert auth
    assert (auth.ref.id, auth.is_exclusive, auth.auto_recreate, auth.check_attempts) == ("anna", True, False, 1)
    # A field that the browser does not show is sent all the same.
    own = await send(pages, "members", auth="runtime", runtimeInput='{"user": "bob"}', lease="exclusive")
    assert own.status_code == 303


WEBHOOK = {"sink": "webhook", "url": "https://93.184.215.14/hook?token=t0p-s3cret", "do": "test"}


async def test_a_test_goes_to_the_sink_that_the_form_names_and_no_run_is_started(api: Api, pages: Pages):
    came = TryRecord(at=datetime.now(UTC), status_code=200, latency=timedelta(milliseconds=21), answer="<b>thanks</b>")
    api.deliveries.came = SinkTestOutcome(record=came)
    answer = await send(pages, **WEBHOOK, headers='{"x-mine": "never-shown"}')
    assert answer.status_code == 200
    assert "Delivered." in answer.text
    told = (await pages.get("/projects/shop/playground.json")).json()
    assert (told["project"], told["api"], told["sinkTest"], "list" in told["apis"]) == ("shop", "list", None, True)
    assert "&lt;b&gt;thanks&lt;/b&gt;" in answer.text
    assert not api.runs.entries
    (run_input,) = api.deliveries.tests
    assert run_input.test_id.startswith("test-")
    assert run_input.sink.webhook
    bound_to = seal_context.run(WORKSPACE, "shop", run_input.test_id)
    assert KeyRing([SECRET]).open(run_input.sink.webhook.sealed_url, bound_to=bound_to) == WEBHOOK["url"]
    assert "t0p-s3cret" not in run_input.model_dump_json()
    problem = TryProblem(type="ConnectError", message="r.example: Connection refused.")
    record = TryRecord(at=datetime.now(UTC), error=problem, latency=timedelta(milliseconds=2))
    api.deliveries.came = SinkTestOutcome(record=record, failure=problem.message)
    answer = await send(pages, **WEBHOOK)
    assert "Not delivered." in answer.text
    assert "Connection refused" in answer.text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"do": "test"}, "the project has none of its own"),
        ({**WEBHOOK, "headers": "{oh"}, "this is not JSON"),
    ],
)
async def test_a_sink_that_nothing_may_be_sent_to_is_not_tested(
    api: Api, pages: Pages, fields: dict[str, str], words: str
):
    answer = await send(pages, **fields)
    assert answer.status_code == 400
    assert words in answer.text.partition('id="sink-test"')[2]
    assert not api.deliveries.tests


async def test_without_a_worker_a_test_says_so_and_the_form_stays(pages: Pages):
    answer = await send(pages, **WEBHOOK, parameters='{"kept": 1}')
    assert answer.status_code == 503
    assert "No worker" in answer.text.partition('id="sink-test"')[2]
    assert "&#34;kept&#34;" in answer.text


async def test_tests_are_bounded(api: Api, pages: Pages):
    api.deliveries.came = SinkTestOutcome(record=TryRecord(at=datetime.now(UTC), status_code=200))
    data = {"token": await pages.token(), "api": "list", **WEBHOOK}
    answers = [await pages.post("/projects/shop/playground", data=data) for _ in range(SINK_TESTS + 1)]
    assert [answer.status_code for answer in answers] == [200] * SINK_TESTS + [429]
    assert "within a minute" in answers[-1].text.partition('id="sink-test"')[2]
