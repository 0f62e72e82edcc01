"""A start that names an AuthSession: what the Run is ordered to do about it, and what becomes of `runtimeInput`."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from callboard.schemas.errors import ConfigurationError, Unavailable
from callboard.schemas.workflow.auth import AuthSessionType, RunAuth
from callboard.schemas.workflow.proxy import SealedProxy
from callboard.schemas.workflow.run import RunInput, RunOutcome, RunStatus
from callboard.schemas.workflow.trace import TraceMode
from callboard.security.keyring import KeyRing
from tests.support.api_in_process import Api, MakeApi
from tests.support.constants import WORKSPACE
from tests.support.faulty_store import FaultyStore
from tests.support.present import assert_has, present

RING = KeyRing(["the older secret key of the ring"])
SECRET = "t0p-s3cret"
INPUT = {"username": "anna", "password": SECRET}
PROXY = SealedProxy(server="http://stored:1", owner="auth-session/anna")

Start = Callable[..., Awaitable[httpx.Response]]


def starter(api: Api) -> Start:
    async def start(
        auth_session: Any, key: str | None = None, project: str = "members", **fields: Any
    ) -> httpx.Response:
        url = f"/api/v1/workspace/{WORKSPACE}/projects/{project}/run/start"
        body = {"api": "list", "parameters": {}, "authSession": auth_session, **fields}
        answer = await api.client.post(url, json=body, headers={} if key is None else {"idempotency-key": key})
        assert SECRET not in answer.text
        return answer

    return start


@pytest.fixture
def start(api: Api) -> Start:
    return starter(api)


def inputs_of(api: Api, answer: httpx.Response) -> tuple[RunInput, RunAuth]:
    assert answer.status_code == 201, answer.text
    run_input = api.input_of(answer.json()["runId"])
    assert run_input.auth is not None
    return run_input, run_input.auth


async def kept(api: Api) -> list[str]:
    return await api.stored("auth-sessions/members/", "runs/members/")


def refused(answer: httpx.Response, status: int, code: str, path: str) -> str:
    assert answer.status_code == status, answer.text
    assert (answer.json()["code"], answer.json()["details"]["path"]) == (code, path)
    return answer.json()["message"]


@pytest.mark.parametrize(
    ("said", "ordered"),
    [
        ({}, (True, 3, 3, 600, TraceMode.NEVER)),
        (
            *(
                {
                    "autoRecreate": False,
                    "checkAttempts": 1,
                    "createAttempts": 10,
                    "requestTimeout": 5,
                    "saveTrace": True,
                },
            ),
            (False, 1, 10, 5, TraceMode.ALWAYS),
        ),
    ],
)
async def test_a_run_is_ordered_with_its_auth_session_and_what_is_said_of_it(
    api: Api, start: Start, said: Any, ordered: tuple[Any, ...]
):
    api.add_auth_session()
    _, auth = inputs_of(api, await start({"id": "anna", **said}))
    assert auth.ref.model_dump() == {"id": "anna", "type": "CREDENTIALS", "owner": "anna"}
    attempts = (auth.auto_recreate, auth.check_attempts, auth.create_attempts)
    assert (*attempts, auth.request_timeout.total_seconds(), auth.trace) == ordered
    assert_has(auth, save_back=True, parameters_key=None)


async def test_one_of_the_recorder_is_never_made_anew(api: Api, start: Start):
    api.add_auth_session(project="recorded", type=AuthSessionType.RECORDER)
    _, auth = inputs_of(api, await start({"id": "anna"}, project="recorded"))
    assert (auth.ref.type, auth.auto_recreate) == (AuthSessionType.RECORDER, False)


@pytest.mark.parametrize("name", ["anna", "a", "~V1StGXR8_Z5jdHi6B-myT", "../anna", "x" * 200])
async def test_an_unknown_auth_session_is_404_with_its_path(api: Api, start: Start, name: str):
    refused(await start({"id": name}), 404, "not-found", "authSession.id")
    assert api.runs.entries == {}


@pytest.mark.parametrize("stored", [None, PROXY])
async def test_a_stored_proxy_is_for_attempts_and_checks_and_a_run_s_own_is_not(
    api: Api, start: Start, stored: SealedProxy | None
):
    api.add_auth_session(proxy=stored)
    run_input, auth = inputs_of(api, await start({"id": "anna"}))
    assert (run_input.proxy, auth.proxy) == (stored, stored)
    run_input, auth = inputs_of(api, await start({"id": "anna"}, proxy="http://run:1"))
    assert (present(run_input.proxy).server, auth.proxy) == ("http://run:1", stored)


async def test_the_start_s_proxy_for_the_auth_session_beats_the_stored_one(api: Api, start: Start):
    api.add_auth_session(proxy=PROXY)
    answer = await start({"id": "anna", "proxy": f"http://u:{SECRET}@own:1"})
    run_input, auth = inputs_of(api, answer)
    proxy, run_id = present(auth.proxy), answer.json()["runId"]
    assert run_input.proxy == proxy
    assert (proxy.server, proxy.owner) == ("http://own:1", run_id)
    assert RING.open(present(proxy.password), bound_to=f"{WORKSPACE}/members/{run_id}") == SECRET


async def test_the_start_or_the_project_has_a_run_take_turns_of_a_stored_login(make_project_api: MakeApi):
    logins = {"authSessions": {"enabled": True, "type": "API"}}
    for lease in (None, "exclusive"):
        api = await make_project_api({**logins, "defaults": {"authSession": {"lease": lease}}}, "members")
        api.add_auth_session()
        start = starter(api)
        for auth_session, is_exclusive in (
            ({"id": "anna"}, lease is not None),
            ({"id": "anna", "lease": "exclusive"}, True),
            ({"runtimeInput": INPUT}, False),
        ):
            assert inputs_of(api, await start(auth_session))[1].is_exclusive is is_exclusive
        refused(await start({"id": "anna", "lease": "shared"}), 400, "bad-request", "authSession.lease")
        refused(await start({"runtimeInput": INPUT, "lease": "exclusive"}), 400, "bad-request", "authSession.lease")


async def test_a_run_that_waits_for_its_turn_says_for_whom(api: Api, start: Start):
    api.add_auth_session()
    run_id = (await start({"id": "anna", "lease": "exclusive"})).json()["runId"]

    async def lease(holder: str | None, *waiting: str) -> Any:
        line = {"holder": holder, "waiting": len(waiting), "next": waiting}
        api.add_auth_session(lease=line)
        answer = await api.client.get(f"/api/v1/workspace/{WORKSPACE}/projects/members/runs/{run_id}")
        assert answer.json()["input"]["authSession"]["lease"] == "exclusive"
        return answer.json()["waiting"]["lease"]

    assert await lease(None) is None
    assert await lease("other", "third", run_id) == {"heldBy": "other", "waiting": 2, "place": 2}
    assert await lease("other", "third") == {"heldBy": "other", "waiting": 1, "place": None}
    assert await lease(run_id, "third") is None, "it waits for a Machine"


async def test_the_project_says_the_last_proxy_and_whether_logins_are_saved_back(make_project_api: MakeApi):
    logins = {"enabled": True, "type": "API", "saveBack": False}
    api = await make_project_api({"authSessions": logins, "proxy": {"deployed": "http://all:1"}}, "members")
    api.add_auth_session()
    run_input, auth = inputs_of(api, await starter(api)({"id": "anna"}))
    assert auth.save_back is False
    assert [present(proxy).server for proxy in (run_input.proxy, auth.proxy)] == ["http://all:1"] * 2


async def test_a_runtime_input_is_only_kept_sealed_for_the_run(api: Api, start: Start):
    answer = await start({"runtimeInput": INPUT})
    (run_input, auth), run_id = inputs_of(api, answer), answer.json()["runId"]
    assert auth.ref.model_dump() == {"id": f"runtime-{run_id}", "type": "RUNTIME", "owner": f"~{run_id}"}
    assert auth.auto_recreate is True
    named = await start({"runtimeInput": {}, "id": "anna"})
    its_owner = f"~{named.json()['runId']}"
    assert inputs_of(api, named)[1].ref.model_dump() == {"id": "anna", "type": "RUNTIME", "owner": its_owner}
    key = present(auth.parameters_key)
    assert key == f"auth-sessions/members/~{run_id}/parameters-{run_id}.sealed"
    token = (present(await api.store.get(key))).decode("ascii")
    assert json.loads(RING.open(token, bound_to=f"{WORKSPACE}/members/auth-session/~{run_id}")) == INPUT
    assert SECRET not in run_input.model_dump_json() + token


@pytest.mark.parametrize(
    ("said", "project", "path"),
    [
        ({"runtimeInput": [SECRET]}, "members", "authSession.runtimeInput"),
        ({"id": "anna", "proxy": f"ftp://{SECRET}"}, "members", "authSession.proxy"),
        ({"runtimeInput": INPUT}, "recorded", "authSession.runtimeInput"),  # where people log in
        ({"id": "anna"}, "shop", "authSession"),  # where nobody does
        ({"runtimeInput": INPUT}, "shop", "authSession"),
    ],
)
async def test_an_auth_session_that_is_not_to_be_had_is_400_with_its_path(
    api: Api, start: Start, said: Any, project: str, path: str
):
    before = await kept(api)
    refused(await start(said, project=project), 400, "bad-request", path)
    assert await kept(api) == before


async def test_an_idempotent_repeat_is_the_same_run_and_keeps_its_input(api: Api, start: Start):
    first = await start({"runtimeInput": INPUT}, "order-7")
    key = present(inputs_of(api, first)[1].parameters_key)
    token = await api.store.get(key)
    second = await start({"runtimeInput": dict(reversed(INPUT.items()))}, "order-7")
    assert second.json() == first.json()
    assert await api.store.get(key) == token
    api.runs.end(first.json()["runId"], RunOutcome(status=RunStatus.COMPLETED))
    await api.store.delete(key)
    assert (await start({"runtimeInput": INPUT}, "order-7")).json() == first.json()
    assert not await api.store.exists(key), "after the Run's end it is not kept again"


async def test_an_idempotency_key_with_another_input_is_409_and_stores_nothing(api: Api, start: Start):
    first = await start({"runtimeInput": INPUT}, "order-8")
    key = present(inputs_of(api, first)[1].parameters_key)
    before, token = await kept(api), await api.store.get(key)
    assert (await start({"runtimeInput": {"other": 1}}, "order-8")).status_code == 409
    assert await kept(api) == before
    assert await api.store.get(key) == token


@pytest.mark.parametrize(("failure", "left"), [(ConfigurationError("Temporal refuses."), 0), (Unavailable("No."), 1)])
async def test_an_input_goes_only_if_the_run_is_known_not_to_have_started(
    api: Api, start: Start, failure: Exception, left: int
):
    before = await kept(api)
    api.runs.failure = failure
    assert (await start({"runtimeInput": INPUT})).status_code in (500, 503)
    assert len(await kept(api)) - len(before) == left


@pytest.mark.parametrize("refused", [".sealed", ".json"])
async def test_a_store_that_cannot_keep_one_artifact_of_a_run_keeps_none(
    make_api: MakeApi, artifacts: Path, refused: str
):
    api = await make_api(store=FaultyStore(artifacts, lambda key: "parameters-" in key and key.endswith(refused)))
    before = await kept(api)
    answer = await starter(api)({"runtimeInput": INPUT}, parameters={"x": "a" * 40_000})
    assert answer.status_code == 500
    assert await kept(api) == before
    assert api.runs.entries == {}
