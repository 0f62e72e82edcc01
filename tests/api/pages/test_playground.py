from __future__ import annotations

import json
import re
import shlex
from datetime import UTC, datetime
from typing import Any

import pytest

from contract.flow.auth import AuthSessionStatus, AuthSessionType
from contract.flow.auth_session import AuthSessionView
from tests.api.conftest import Api
from tests.api.pages.test_sign_in import signed_in, token


async def send(api: Api, project: str = "shop", /, **fields: str) -> Any:
    client = await signed_in(api)
    data = {"token": await token(client), "api": "list", "parameters": "{}", "do": "start", **fields}
    return await client.post(f"/projects/{project}/playground", data=data)


async def test_a_run_is_started_with_what_the_form_says(api: Api) -> None:
    answer = await send(
        api,
        parameters='{"a": ["é"]}',
        maximumAttempts="2",
        requestTimeout="30",
        saveTrace="on-failure",
        sink="webhook",
        url="https://93.184.215.14/hook",
        headers='{"x-mine": "1"}',
        skipOnFail="true",
    )
    assert answer.status_code == 303, answer.text
    order = api.order(answer.headers["location"].rpartition("/")[2])
    assert json.loads(order.parameters.text or "") == {"a": ["é"]}
    assert (order.maximum_attempts, order.request_timeout.total_seconds()) == (2, 30)
    assert order.sink
    assert (order.sink.skip_on_fail, order.sink.webhook and order.sink.webhook.url) == (
        True,
        "https://93.184.215.14/hook",
    )


@pytest.mark.parametrize(
    ("fields", "where", "words"),
    [
        ({"parameters": "{oh"}, "parameters", "a JSON object"),
        ({"parameters": "[1]"}, "parameters", "an object"),
        ({"maximumAttempts": "0"}, "retry-maximumAttempts", "from 1 to 100"),
        ({"requestTimeout": "soon"}, "requestTimeout", "a whole number"),
        ({"proxy": "nonsense"}, "proxy", "proxy"),
        ({"sink": "webhook", "url": "ftp://x"}, "sink-url", "http or https"),
        ({"sink": "webhook", "url": "http://10.0.0.1/"}, "sink-url", "public"),
        ({"sink": "s3", "bucket": "b"}, "sink-region", "required"),
        ({"api": "lost"}, "api", "no API"),
    ],
)
async def test_what_is_wrong_is_said_beside_its_field(api: Api, fields: dict[str, str], where: str, words: str) -> None:
    answer = await send(api, **fields)
    assert answer.status_code in (400, 404)
    beside = re.search(rf'id="e-{where}">(.*?)</p>', answer.text)
    assert beside, answer.text
    assert words in beside[1]
    assert f'aria-describedby="e-{where}"' in answer.text
    assert not api.runs.entries


async def test_what_was_written_stays_and_secrets_do_not(api: Api) -> None:
    answer = await send(
        api, parameters='{"kept": "</textarea><b>"}', sink="s3", bucket="b", secretAccessKey="never-shown", do="start"
    )
    assert "&lt;/textarea&gt;&lt;b&gt;" in answer.text
    assert "never-shown" not in answer.text


async def test_the_call_is_shown_as_code_and_nothing_is_started(api: Api) -> None:
    fields = {"parameters": '{"quote": "it\'s $HOME"}', "sink": "webhook", "url": "https://r.example/", "do": "show"}
    answer = await send(api, **fields, headers='{"authorization": "never-shown"}')
    assert not api.runs.entries
    assert "never-shown" not in answer.text.partition('id="calls"')[2]
    page = re.findall(r'<pre id="call-\d" tabindex="0">(.*?)</pre>', answer.text, re.DOTALL)
    unescape = {"&#34;": '"', "&#39;": "'", "&lt;": "<", "&gt;": ">", "&amp;": "&"}
    curl, python = (re.sub("|".join(unescape), lambda each: unescape[each[0]], code) for code in page)
    words = shlex.split(curl.replace("\\\n", " "))
    assert words[3].endswith("/projects/shop/run/start")
    assert json.loads(words[-1])["parameters"] == {"quote": "it's $HOME"}
    compile(python, "shown", "exec")


async def test_a_login_is_asked_for_where_one_is_needed(api: Api) -> None:
    refused = await send(api, "members")
    assert "Auth session is required" in refused.text
    now = datetime.now(UTC)
    api.auth_sessions.known["members", "anna"] = AuthSessionView(
        id="anna", type=AuthSessionType.CREDENTIALS, status=AuthSessionStatus.READY, created_at=now, updated_at=now
    )
    client = await signed_in(api)
    assert "anna (READY)" in (await client.get("/projects/members/playground")).text
    answer = await send(api, "members", auth="stored", authSessionId="anna", autoRecreate="false", checkAttempts="1")
    auth = api.order(answer.headers["location"].rpartition("/")[2]).auth
    assert auth
    assert (auth.ref.id, auth.auto_recreate, auth.check_attempts) == ("anna", False, 1)
    own = await send(api, "members", auth="runtime", runtimeInput='{"user": "bob"}')
    assert own.status_code == 303


async def test_nothing_is_started_in_a_closed_project_or_without_the_form(api: Api) -> None:
    assert (await send(api, "closed")).status_code == 403
    client = await signed_in(api)
    assert (await client.post("/projects/shop/playground", data={"api": "list"})).status_code == 403
    assert not api.runs.entries
