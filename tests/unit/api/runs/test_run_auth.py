"""A start that names an AuthSession: what the Run is ordered to do about it, and what becomes of `runtimeInput`."""

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from projects.deploy import deploy
from schemas.errors import ConfigurationError, StoreError, Unavailable
from schemas.workflow.auth import AuthSessionStatus, AuthSessionType, RunAuth
from schemas.workflow.auth_session import AuthSessionView
from schemas.workflow.proxy import SealedProxy
from schemas.workflow.run import RunInput, RunOutcome, RunStatus
from schemas.workflow.trace import TraceMode
from security.keyring import KeyRing
from storage.folder import FolderStore
from tests.support.api_in_process import Api, MakeApi
from tests.support.constants import WORKSPACE
from tests.support.present import present

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


def there_is(
    api: Api,
    kind: AuthSessionType = AuthSessionType.CREDENTIALS,
    proxy: SealedProxy | None = None,
    project: str = "members",
) -> None:
    view = {"id": "anna", "type": kind, "status": AuthSessionStatus.READY, "proxy": proxy}
    times = {"created_at": "2026-11-25T00:00:00Z", "updated_at": "2026-11-25T00:00:00Z"}
    api.auth_sessions.known[project, "anna"] = AuthSessionView.model_validate({**view, **times})


def inputs_of(api: Api, answer: httpx.Response) -> tuple[RunInput, RunAuth]:
    assert answer.status_code == 201, answer.text
    run_input = api.input_of(answer.json()["runId"])
    assert run_input.auth is not None
    return run_input, run_input.auth


async def kept(store: FolderStore) -> list[str]:
    return [key async for key in store.list("auth-sessions/members/")]


def refused(answer: httpx.Response, status: int, code: str, path: str) -> str:
    assert answer.status_code == status, answer.text
    assert (answer.json()["code"], answer.json()["details"]["path"]) == (code, path)
    return answer.json()["message"]


async def test_starts_a_run_with_its_auth_session_and_the_contract_s_defaults(api: Api, start: Start):
    there_is(api)
    _, auth = inputs_of(api, await start({"id": "anna"}))
    assert auth.ref.model_dump() == {"id": "anna", "type": "CREDENTIALS", "owner": "anna"}
    assert (auth.auto_recreate, auth.check_attempts, auth.create_attempts) == (True, 3, 3)
    assert (auth.request_timeout, auth.trace, auth.save_back) == (timedelta(seconds=600), TraceMode.NEVER, True)
    assert (auth.proxy, auth.parameters_key) == (None, None)


async def test_what_a_start_says_of_its_auth_session_is_what_is_ordered(api: Api, start: Start):
    there_is(api)
    said = {"autoRecreate": False, "checkAttempts": 1, "createAttempts": 10, "requestTimeout": 5, "saveTrace": True}
    _, auth = inputs_of(api, await start({"id": "anna", **said}))
    assert (auth.auto_recreate, auth.check_attempts, auth.create_attempts) == (False, 1, 10)
    assert (auth.request_timeout, auth.trace) == (timedelta(seconds=5), TraceMode.ALWAYS)


async def test_one_of_the_recorder_is_never_made_anew(api: Api, start: Start):
    there_is(api, AuthSessionType.RECORDER, project="recorded")
    _, auth = inputs_of(api, await start({"id": "anna"}, project="recorded"))
    assert (auth.ref.type, auth.auto_recreate) == (AuthSessionType.RECORDER, False)


@pytest.mark.parametrize("name", ["anna", "a", "~V1StGXR8_Z5jdHi6B-myT", "../anna", "x" * 200])
async def test_an_unknown_auth_session_is_404_with_its_path(api: Api, start: Start, name: str):
    refused(await start({"id": name}), 404, "not-found", "authSession.id")
    assert api.runs.entries == {}


async def test_a_project_that_does_not_log_in_takes_no_auth_session(api: Api, start: Start):
    for said in ({"id": "anna"}, {"runtimeInput": INPUT}):
        refused(await start(said, project="shop"), 400, "bad-request", "authSession")


async def test_without_a_proxy_anywhere_there_is_none(api: Api, start: Start):
    there_is(api)
    run_input, auth = inputs_of(api, await start({"id": "anna"}))
    assert (run_input.proxy, auth.proxy) == (None, None)


async def test_the_stored_proxy_is_that_of_attempts_and_checks(api: Api, start: Start):
    there_is(api, proxy=PROXY)
    run_input, auth = inputs_of(api, await start({"id": "anna"}))
    assert run_input.proxy == PROXY
    assert auth.proxy == PROXY


async def test_the_start_s_proxy_for_the_auth_session_beats_the_stored_one(api: Api, start: Start):
    there_is(api, proxy=PROXY)
    answer = await start({"id": "anna", "proxy": f"http://u:{SECRET}@own:1"})
    run_input, auth = inputs_of(api, answer)
    assert auth.proxy is not None
    assert run_input.proxy == auth.proxy
    assert (auth.proxy.server, auth.proxy.owner) == ("http://own:1", answer.json()["runId"])
    bound_to = f"{WORKSPACE}/members/{answer.json()['runId']}"
    assert RING.open(auth.proxy.password or "", bound_to=bound_to) == SECRET


async def test_the_run_s_own_proxy_is_for_its_attempts_only(api: Api, start: Start):
    there_is(api, proxy=PROXY)
    run_input, auth = inputs_of(api, await start({"id": "anna"}, proxy="http://run:1"))
    assert run_input.proxy is not None
    assert run_input.proxy.server == "http://run:1"
    assert auth.proxy == PROXY


async def test_the_project_s_settings_give_the_last_proxy_and_save_back(tmp_path: Path, make_api: MakeApi):
    settings = {
        "authSessions": {"enabled": True, "type": "API", "saveBack": False},
        "proxy": {"deployed": "http://all:1"},
    }
    folder, store = tmp_path / "members", FolderStore(tmp_path / "artifacts")
    for path, text in {
        "Intuned.json": json.dumps(settings),
        "api/list.py": "async def automation(page, params=None, **_): ...\n",
        "auth-sessions/create.py": "async def create(page, params=None, **_): ...\n",
        "auth-sessions/check.py": "async def check(page, **_): ...\n",
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    await deploy(folder, store)
    api = await make_api(store=store)
    there_is(api)
    run_input, auth = inputs_of(api, await starter(api)({"id": "anna"}))
    assert auth.save_back is False
    for proxy in (run_input.proxy, auth.proxy):
        assert proxy is not None
        assert proxy.server == "http://all:1"


async def test_a_runtime_input_is_only_kept_sealed_for_the_run(api: Api, start: Start):
    answer = await start({"runtimeInput": INPUT})
    (run_input, auth), run_id = inputs_of(api, answer), answer.json()["runId"]
    assert auth.ref.model_dump() == {"id": f"runtime-{run_id}", "type": "RUNTIME", "owner": f"~{run_id}"}
    assert auth.auto_recreate is True
    key = present(auth.parameters_key)
    assert key == f"auth-sessions/members/~{run_id}/parameters-{run_id}.sealed"
    token = (present(await api.store.get(key))).decode("ascii")
    assert json.loads(RING.open(token, bound_to=f"{WORKSPACE}/members/auth-session/~{run_id}")) == INPUT
    assert SECRET not in run_input.model_dump_json() + token


async def test_a_runtime_auth_session_has_the_name_that_it_was_given(api: Api, start: Start):
    there_is(api)
    answer = await start({"runtimeInput": {}, "id": "anna"})
    _, auth = inputs_of(api, answer)
    assert (auth.ref.id, auth.ref.type, auth.ref.owner) == (
        "anna",
        AuthSessionType.RUNTIME,
        f"~{answer.json()['runId']}",
    )


@pytest.mark.parametrize(
    ("said", "path"),
    [
        ({"runtimeInput": [SECRET]}, "authSession.runtimeInput"),
        ({"runtimeInput": INPUT, "autoRecreate": False}, "authSession.autoRecreate"),
        ({"runtimeInput": INPUT, "id": "~x"}, "authSession.id"),
        ({"runtimeInput": INPUT, "retries": 1}, "authSession.retries"),
        ({"id": "anna", "proxy": f"ftp://{SECRET}"}, "authSession.proxy"),
    ],
)
async def test_a_wrong_field_is_400_with_its_path(api: Api, start: Start, said: Any, path: str):
    before = await kept(api.store)
    refused(await start(said), 400, "bad-request", path)
    assert await kept(api.store) == before


async def test_a_runtime_input_where_people_log_in_is_400(api: Api, start: Start):
    path = "authSession.runtimeInput"
    message = refused(await start({"runtimeInput": INPUT}, project="recorded"), 400, "bad-request", path)
    assert "recorded by people" in message


async def test_an_idempotent_repeat_is_the_same_run_and_keeps_its_input(api: Api, start: Start):
    first = await start({"runtimeInput": INPUT}, "order-7")
    key = present(inputs_of(api, first)[1].parameters_key)
    token = await api.store.get(key)
    second = await start({"runtimeInput": dict(reversed(INPUT.items()))}, "order-7")
    assert second.json() == first.json()
    assert await api.store.get(key) == token


async def test_an_idempotency_key_with_another_input_is_409_and_stores_nothing(api: Api, start: Start):
    first = await start({"runtimeInput": INPUT}, "order-8")
    key = present(inputs_of(api, first)[1].parameters_key)
    before, token = await kept(api.store), await api.store.get(key)
    assert (await start({"runtimeInput": {"other": 1}}, "order-8")).status_code == 409
    assert await kept(api.store) == before
    assert await api.store.get(key) == token


async def test_a_repeat_after_the_run_s_end_keeps_no_input_again(api: Api, start: Start):
    first = await start({"runtimeInput": INPUT}, "order-9")
    key = present(inputs_of(api, first)[1].parameters_key)
    api.runs.end(first.json()["runId"], RunOutcome(status=RunStatus.COMPLETED))
    await api.store.delete(key)
    assert (await start({"runtimeInput": INPUT}, "order-9")).json() == first.json()
    assert not await api.store.exists(key)


@pytest.mark.parametrize(("failure", "left"), [(ConfigurationError("Temporal refuses."), 0), (Unavailable("No."), 1)])
async def test_an_input_goes_only_if_the_run_is_known_not_to_have_started(
    api: Api, start: Start, failure: Exception, left: int
):
    before = await kept(api.store)
    api.runs.failure = failure
    assert (await start({"runtimeInput": INPUT})).status_code in (500, 503)
    assert len(await kept(api.store)) - len(before) == left


async def test_a_store_that_cannot_keep_the_input_leaves_no_parameters(make_api: MakeApi, deployed: FolderStore):
    class Broken:
        def __getattr__(self, name: str) -> Any:
            return getattr(deployed, name)

        async def put(self, key: str, data: bytes) -> None:
            if key.endswith(".sealed"):
                raise StoreError(f"{key} cannot be written: the disk is full.")
            await deployed.put(key, data)

    api = await make_api(store=Broken())
    before = [key async for key in deployed.list("runs/members/")]
    answer = await starter(api)({"runtimeInput": INPUT}, parameters={"x": "a" * 40_000})
    assert answer.status_code == 500
    assert [key async for key in deployed.list("runs/members/")] == before
    assert api.runs.entries == {}


async def test_a_runtime_input_without_a_secret_key_is_refused_and_says_why(make_api: MakeApi):
    api = await make_api(secret_key=[])
    answer = await starter(api)({"runtimeInput": INPUT})
    assert answer.status_code == 500
    assert "CALLBOARD_SECRET_KEY" in answer.json()["message"]
    assert api.runs.entries == {}
