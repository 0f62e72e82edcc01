"""AuthSessions over REST: what is refused and how, what is ordered, what is kept, and that nothing is half-made."""

import json
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from projects.deploy import deploy
from schemas.errors import ConfigurationError, NotFound, StoreError, Unavailable
from schemas.workflow.auth import AuthSessionStatus, AuthSessionType
from schemas.workflow.auth_session import AuthSessionView
from schemas.workflow.proxy import SealedProxy
from schemas.workflow.run import RunType
from schemas.workflow.trace import TraceMode
from security.keyring import KeyRing
from storage import keys
from storage.folder import FolderStore
from tests.support.api_in_process import Api, MakeApi
from tests.support.constants import WORKSPACE
from tests.support.present import present

RING = KeyRing(["the older secret key of the ring"])
SECRET = "t0p-s3cret"
PARAMETERS = {"username": "anna", "password": SECRET}
COOKIE = {
    "name": "sid",
    "value": SECRET,
    "domain": "shop.example",
    "path": "/",
    "expires": -1,
    "httpOnly": True,
    "secure": True,
    "sameSite": "Lax",
}
STATE = {"cookies": [COOKIE], "origins": []}

Call = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture
def call(api: Api) -> Call:
    """Calls something below `auth-sessions` of a project."""
    return caller(api)


def caller(api: Api) -> Call:
    async def call(method: str, path: str = "", body: Any = None, project: str = "members") -> httpx.Response:
        url = f"/api/v1/workspace/{WORKSPACE}/projects/{project}/auth-sessions{path}"
        answer = await api.client.request(method, url, json=body)
        assert SECRET not in answer.text
        return answer

    return call


def refused(answer: httpx.Response, status: int, code: str, path: str | None = None) -> str:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert (body["code"], body["category"], body["retirable"]) == (code, "user", False)
    if path is not None:
        assert body["details"]["path"] == path
    return body["message"]


def a_view(
    auth_session_id: str = "anna",
    kind: AuthSessionType = AuthSessionType.CREDENTIALS,
    proxy: SealedProxy | None = None,
) -> AuthSessionView:
    return AuthSessionView.model_validate(
        {
            "id": auth_session_id,
            "type": kind,
            "status": AuthSessionStatus.READY,
            "proxy": proxy,
            "created_at": "2026-11-25T00:00:00Z",
            "updated_at": "2026-11-25T00:00:00Z",
        }
    )


def there_is(api: Api, view: AuthSessionView, project: str = "members") -> None:
    api.auth_sessions.known[project, view.id] = view


async def kept(store: FolderStore, *prefixes: str) -> list[str]:
    return [key for prefix in prefixes or ("auth-sessions/", "runs/") async for key in store.list(prefix)]


async def opened(store: FolderStore, key: str, project: str, owner: str) -> Any:
    token = await store.get(key)
    assert token is not None
    assert SECRET.encode() not in token
    return json.loads(RING.open(token.decode("ascii"), bound_to=f"{WORKSPACE}/{project}/auth-session/{owner}"))


async def test_create_is_201_with_status_started_and_an_operation_id(api: Api, call: Call):
    answer = await call("POST", "/create", {"parameters": PARAMETERS})
    assert answer.status_code == 201
    assert set(answer.json()) == {"status", "operationId"}
    assert answer.json()["status"] == "started"
    assert re.fullmatch(r"[A-Za-z0-9_-]{21}", answer.json()["operationId"])
    (workflow_input,) = api.auth_sessions.created
    assert re.fullmatch(r"auth-session-[A-Za-z0-9_-]{21}", workflow_input.ref.id)


async def test_a_create_has_the_contract_s_defaults_and_seals_its_parameters(api: Api, call: Call):
    operation = (await call("POST", "/create", {"id": "anna@home", "parameters": PARAMETERS})).json()["operationId"]
    (workflow_input,) = api.auth_sessions.created
    manifest = present(await api.services.catalog.get_current("members"))
    assert (workflow_input.workspace, workflow_input.project) == (WORKSPACE, "members")
    assert workflow_input.ref.model_dump() == {"id": "anna@home", "type": "CREDENTIALS", "owner": "anna@home"}
    assert (workflow_input.view.id, workflow_input.view.type, workflow_input.view.status) == (
        "anna@home",
        "CREDENTIALS",
        "PENDING",
    )
    assert (workflow_input.view.login_version, workflow_input.view.state_key, workflow_input.view.proxy) == (
        0,
        None,
        None,
    )
    login = present(workflow_input.create)
    assert (login.run_id, login.type, login.version) == (
        operation,
        RunType.AUTH_SESSION_CREATE,
        manifest.version,
    )
    assert (login.create_attempts, login.check_attempts, login.trace) == (
        3,
        3,
        TraceMode.NEVER,
    )
    assert (login.request_timeout, login.proxy) == (timedelta(seconds=600), None)
    assert login.parameters_key == f"auth-sessions/members/anna@home/parameters-{operation}.sealed"
    assert await opened(api.store, login.parameters_key, "members", "anna@home") == PARAMETERS
    note = json.loads(present(await api.store.get(f"runs/members/{operation}/accepted.json")))
    assert note["authSessionId"] == "anna@home"
    assert SECRET not in workflow_input.model_dump_json() + json.dumps(note)


async def test_what_a_create_says_is_what_is_ordered(api: Api, call: Call):
    said = {"createAttempts": 1, "checkAttempts": 10, "saveTrace": True, "requestTimeout": 5}
    assert (await call("POST", "/create", {"parameters": {}, **said})).status_code == 201
    login = present(api.auth_sessions.created[0].create)
    assert (login.create_attempts, login.check_attempts, login.trace) == (
        1,
        10,
        TraceMode.ALWAYS,
    )
    assert login.request_timeout == timedelta(seconds=5)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "parameters"),
        ({"parameters": [SECRET]}, "parameters"),
        ({"parameters": SECRET}, "parameters"),
        ({"parameters": {}, "id": "ab"}, "id"),
        ({"parameters": {}, "id": "a/b/c"}, "id"),
        ({"parameters": {}, "id": "~anna"}, "id"),
        ({"parameters": {}, "createAttempts": 11}, "createAttempts"),
        ({"parameters": {}, "checkAttempts": 0}, "checkAttempts"),
        ({"parameters": {}, "proxy": f"ftp://u:{SECRET}@h"}, "proxy"),
        ({"parameters": {}, "autoRecreate": True}, "autoRecreate"),
        ([], ""),
    ],
)
async def test_a_create_with_a_wrong_field_is_400_with_its_path(api: Api, call: Call, body: Any, path: str):
    before = await kept(api.store)
    refused(await call("POST", "/create", body), 400, "bad-request", path)
    assert api.auth_sessions.created == []
    assert await kept(api.store) == before


@pytest.mark.parametrize(
    ("path", "body"), [("/create", {"parameters": {"x": ""}}), ("/anna/update", {"parameters": {"x": ""}})]
)
async def test_parameters_of_more_than_1_mib_are_413(api: Api, call: Call, path: str, body: Any):
    there_is(api, a_view())
    body["parameters"]["x"] = "a" * 1024 * 1024
    refused(await call("POST", path, body), 413, "bad-request", "")


async def test_an_id_that_exists_is_409_and_nothing_is_left_of_the_second_create(api: Api, call: Call):
    body = {"id": "anna-409", "parameters": PARAMETERS}
    assert (await call("POST", "/create", body)).status_code == 201
    before = await kept(api.store)
    message = refused(await call("POST", "/create", {**body, "parameters": {}}), 409, "conflict", "id")
    assert "'anna-409'" in message
    assert await kept(api.store) == before
    assert len(api.auth_sessions.created) == 1


async def test_a_create_that_loses_a_race_leaves_nothing(api: Api, call: Call, monkeypatch: pytest.MonkeyPatch):
    there_is(api, a_view("racer"))

    async def not_yet(*_: str) -> AuthSessionView:
        raise NotFound("There is no such AuthSession.")

    monkeypatch.setattr(api.auth_sessions, "get", not_yet)
    before = await kept(api.store)
    refused(await call("POST", "/create", {"id": "racer", "parameters": PARAMETERS}), 409, "conflict")
    assert await kept(api.store) == before


@pytest.mark.parametrize("failure", [ConfigurationError("Temporal refuses."), Unavailable("No answer.")])
async def test_removes_a_create_s_artifacts_only_if_it_surely_did_not_begin(api: Api, call: Call, failure: Exception):
    before = await kept(api.store)
    api.auth_sessions.failure = failure
    answer = await call("POST", "/create", {"parameters": PARAMETERS})
    assert answer.status_code == (503 if isinstance(failure, Unavailable) else 500)
    left = len(await kept(api.store)) - len(before)
    assert left == (2 if isinstance(failure, Unavailable) else 0)


async def test_a_store_that_fails_on_the_note_leaves_no_parameters(make_api: MakeApi, deployed: FolderStore):
    class Broken:
        def __getattr__(self, name: str) -> Any:
            return getattr(deployed, name)

        async def put(self, key: str, data: bytes) -> None:
            if key.endswith("accepted.json"):
                raise StoreError(f"{key} cannot be written: the disk is full.")
            await deployed.put(key, data)

    before = await kept(deployed)
    api = await make_api(store=Broken())
    answer = await caller(api)("POST", "/create", {"parameters": PARAMETERS})
    assert (answer.status_code, answer.json()["retirable"]) == (500, True)
    assert api.auth_sessions.created == []
    assert await kept(deployed) == before


async def test_a_create_without_a_secret_key_stores_nothing_and_says_why(make_api: MakeApi):
    api = await make_api(secret_key=[])
    before = await kept(api.store)
    answer = await caller(api)("POST", "/create", {"parameters": PARAMETERS})
    assert answer.status_code == 500
    assert "CALLBOARD_SECRET_KEY" in answer.json()["message"]
    assert await kept(api.store) == before


async def test_the_proxy_of_a_create_becomes_the_auth_session_s_own(api: Api, call: Call):
    await call("POST", "/create", {"id": "anna-proxy", "parameters": {}, "proxy": f"http://u:{SECRET}@proxy:1"})
    workflow_input = api.auth_sessions.created[0]
    assert workflow_input.view.proxy == present(workflow_input.create).proxy
    assert (present(workflow_input.view.proxy).server, present(workflow_input.view.proxy).owner) == (
        "http://proxy:1",
        "auth-session/anna-proxy",
    )
    owner = f"{WORKSPACE}/members/auth-session/anna-proxy"
    assert RING.open(present(present(workflow_input.view.proxy).password), bound_to=owner) == SECRET


async def test_update_is_201_with_status_started_and_orders_another_login(api: Api, call: Call):
    there_is(api, a_view("anna@home"))
    answer = await call("POST", "/anna%40home/update", {"parameters": PARAMETERS, "checkAttempts": 1})
    assert answer.status_code == 201
    assert answer.json()["status"] == "started"
    (workflow_input,) = api.auth_sessions.updates
    assert (workflow_input.run_id, workflow_input.type) == (answer.json()["operationId"], RunType.AUTH_SESSION_UPDATE)
    assert (workflow_input.create_attempts, workflow_input.check_attempts, workflow_input.trace) == (
        3,
        1,
        TraceMode.NEVER,
    )
    assert await opened(api.store, workflow_input.parameters_key, "members", "anna@home") == PARAMETERS


async def test_an_update_without_a_proxy_keeps_the_stored_one(api: Api, call: Call):
    stored = SealedProxy(server="http://stored:1", owner="auth-session/anna")
    there_is(api, a_view(proxy=stored))
    await call("POST", "/anna/update", {"parameters": {}})
    await call("POST", "/anna/update", {"parameters": {}, "proxy": "http://new:1"})
    first, second = api.auth_sessions.updates
    assert first.proxy == stored
    assert (present(second.proxy).server, present(second.proxy).owner) == ("http://new:1", "auth-session/anna")


@pytest.mark.parametrize(
    ("body", "path"),
    [({}, "parameters"), ({"parameters": 7}, "parameters"), ({"parameters": {}, "id": "anna"}, "id")],
)
async def test_an_update_with_a_wrong_field_is_400_with_its_path(api: Api, call: Call, body: Any, path: str):
    there_is(api, a_view())
    refused(await call("POST", "/anna/update", body), 400, "bad-request", path)
    assert api.auth_sessions.updates == []


async def test_an_update_of_what_is_gone_meanwhile_leaves_nothing(api: Api, call: Call):
    there_is(api, a_view())
    api.auth_sessions.failure = NotFound("There is no such AuthSession.")
    before = await kept(api.store)
    refused(await call("POST", "/anna/update", {"parameters": PARAMETERS}), 404, "not-found")
    assert await kept(api.store) == before


async def test_validate_is_201_with_status_pending_and_the_contract_s_defaults(api: Api, call: Call):
    there_is(api, a_view())
    answer = await call("POST", "/anna/validate/start", {})
    assert answer.status_code == 201
    assert answer.json() == {"status": "pending", "operationId": answer.json()["operationId"]}
    workflow_input = api.auth_sessions.validates[answer.json()["operationId"]]
    manifest = present(await api.services.catalog.get_current("members"))
    assert (workflow_input.workspace, workflow_input.project, workflow_input.version) == (
        WORKSPACE,
        "members",
        manifest.version,
    )
    assert workflow_input.ref.model_dump() == {"id": "anna", "type": "CREDENTIALS", "owner": "anna"}
    assert (workflow_input.auto_recreate, workflow_input.check_attempts, workflow_input.create_attempts) == (True, 3, 3)
    assert (workflow_input.request_timeout, workflow_input.trace, workflow_input.proxy) == (
        timedelta(seconds=600),
        TraceMode.NEVER,
        None,
    )
    assert (workflow_input.parent_run_id, workflow_input.is_run_started) == (None, False)


async def test_the_proxy_of_a_validate_is_its_own_else_the_stored_one(api: Api, call: Call):
    stored = SealedProxy(server="http://stored:1", owner="auth-session/anna")
    there_is(api, a_view(proxy=stored))
    first = (await call("POST", "/anna/validate/start", {})).json()["operationId"]
    own = {"proxy": f"http://u:{SECRET}@own:1", "autoRecreate": False}
    second = (await call("POST", "/anna/validate/start", own)).json()["operationId"]
    inputs = api.auth_sessions.validates
    assert inputs[first].proxy == stored
    assert (present(inputs[second].proxy).server, present(inputs[second].proxy).owner) == ("http://own:1", second)
    assert (
        RING.open(present(present(inputs[second].proxy).password), bound_to=f"{WORKSPACE}/members/{second}") == SECRET
    )
    assert inputs[second].auto_recreate is False


async def test_an_auth_session_without_a_proxy_borrows_the_project_s(tmp_path: Any, make_api: MakeApi):
    folder, store = tmp_path / "members", FolderStore(tmp_path / "artifacts")
    for path, text in {
        "Intuned.json": '{"authSessions": {"enabled": true, "type": "API"}, "proxy": {"deployed": "http://a:b@all:1"}}',
        "api/list.py": "async def automation(page, params=None, **_): ...\n",
        "auth-sessions/create.py": "async def create(page, params=None, **_): ...\n",
        "auth-sessions/check.py": "async def check(page, **_): ...\n",
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    await deploy(folder, store)
    api = await make_api(store=store)
    call = caller(api)
    create = (await call("POST", "/create", {"id": "anna", "parameters": {}})).json()["operationId"]
    (workflow_input,) = api.auth_sessions.created
    assert workflow_input.view.proxy is None
    assert (
        present(present(workflow_input.create).proxy).server,
        present(present(workflow_input.create).proxy).owner,
    ) == (
        "http://all:1",
        create,
    )
    update = (await call("POST", "/anna/update", {"parameters": {}})).json()["operationId"]
    assert present(api.auth_sessions.updates[0].proxy).owner == update
    validate = (await call("POST", "/anna/validate/start", {})).json()["operationId"]
    assert present(api.auth_sessions.validates[validate].proxy).owner == validate


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"autoRecreate": 1}, "autoRecreate"),
        ({"checkAttempts": 0}, "checkAttempts"),
        ({"requestTimeout": 0}, "requestTimeout"),
        ({"proxy": f"{SECRET}"}, "proxy"),
        ({"parameters": {}}, "parameters"),
    ],
)
async def test_a_validate_with_a_wrong_field_is_400_with_its_path(api: Api, call: Call, body: Any, path: str):
    there_is(api, a_view())
    refused(await call("POST", "/anna/validate/start", body), 400, "bad-request", path)
    assert api.auth_sessions.validates == {}


async def test_one_of_the_recorder_is_validated_and_never_made_anew(api: Api, call: Call):
    there_is(api, a_view(kind=AuthSessionType.RECORDER), "recorded")
    operation = (await call("POST", "/anna/validate/start", {}, "recorded")).json()["operationId"]
    workflow_input = api.auth_sessions.validates[operation]
    assert (workflow_input.ref.type, workflow_input.auto_recreate) == (AuthSessionType.RECORDER, False)


async def test_refuses_to_create_or_update_recorded_logins(api: Api, call: Call):
    there_is(api, a_view(kind=AuthSessionType.RECORDER), "recorded")
    for path in ("/create", "/anna/update"):
        message = refused(await call("POST", path, {"parameters": {}}, "recorded"), 400, "bad-request")
        assert "/auth-sessions/import" in message
    there_is(api, a_view("leftover", AuthSessionType.RECORDER))
    refused(await call("POST", "/leftover/update", {"parameters": {}}), 400, "bad-request")
    assert api.auth_sessions.created == api.auth_sessions.updates == []


async def test_an_import_answers_201_with_the_auth_session_and_seals_its_state(api: Api, call: Call):
    answer = await call("POST", "/import", {"id": "anna-import", "state": STATE}, "recorded")
    assert answer.status_code == 201
    assert answer.json() == {"id": "anna-import", "type": "RECORDER", "status": "READY"}
    (workflow_input,) = api.auth_sessions.created
    assert (workflow_input.ref.type, workflow_input.ref.owner, workflow_input.create) == (
        AuthSessionType.RECORDER,
        "anna-import",
        None,
    )
    assert (workflow_input.view.login_version, workflow_input.view.parameters_key) == (1, None)
    assert present(workflow_input.view.state_key).startswith("auth-sessions/recorded/anna-import/state-")
    assert await opened(api.store, present(workflow_input.view.state_key), "recorded", "anna-import") == {
        **STATE,
        "sessionStorage": None,
    }
    assert SECRET not in workflow_input.model_dump_json()


async def test_an_import_without_an_id_gets_one(api: Api, call: Call):
    answer = await call("POST", "/import", {"state": STATE}, "recorded")
    assert re.fullmatch(r"auth-session-[A-Za-z0-9_-]{21}", answer.json()["id"])


async def test_an_import_to_one_of_the_recorder_records_it_anew(api: Api, call: Call):
    there_is(api, a_view(kind=AuthSessionType.RECORDER), "recorded")
    answer = await call("POST", "/import", {"id": "anna", "state": STATE}, "recorded")
    assert (answer.status_code, answer.json()["status"]) == (201, "READY")
    assert api.auth_sessions.created == []
    key = present(api.auth_sessions.known["recorded", "anna"].state_key)
    assert (await opened(api.store, key, "recorded", "anna"))["cookies"] == [COOKIE]


async def test_an_import_to_one_that_was_not_recorded_is_409_and_nothing_is_kept(api: Api, call: Call):
    there_is(api, a_view(), "recorded")
    before = await kept(api.store)
    refused(await call("POST", "/import", {"id": "anna", "state": STATE}, "recorded"), 409, "conflict", "id")
    assert await kept(api.store) == before


@pytest.mark.parametrize(("failure", "left"), [(NotFound("Gone."), 0), (Unavailable("No worker took it up."), 1)])
async def test_removes_an_imported_state_unless_it_may_still_be_taken_up(
    api: Api, call: Call, failure: Exception, left: int
):
    there_is(api, a_view(kind=AuthSessionType.RECORDER), "recorded")
    api.auth_sessions.failure = failure
    before = await kept(api.store)
    answer = await call("POST", "/import", {"id": "anna", "state": STATE}, "recorded")
    assert answer.status_code in (404, 503)
    assert len(await kept(api.store)) - len(before) == left


async def test_an_import_into_a_project_that_makes_its_logins_itself_is_400(api: Api, call: Call):
    message = refused(await call("POST", "/import", {"state": STATE}), 400, "bad-request")
    assert "authSessions.type" in message


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "state"),
        ({"state": SECRET}, "state"),
        ({"state": {"cookies": []}}, "state.origins"),
        ({"state": {**STATE, "cookies": [{**COOKIE, "sameSite": SECRET}]}}, "state.cookies[0].sameSite"),
        ({"state": {**STATE, "origins": [{"origin": SECRET, "localStorage": []}]}}, "state.origins[0].origin"),
        ({"state": STATE, "id": "a"}, "id"),
        ({"state": STATE, "parameters": {}}, "parameters"),
    ],
)
async def test_an_import_with_a_wrong_field_is_400_with_its_path(api: Api, call: Call, body: Any, path: str):
    refused(await call("POST", "/import", body, "recorded"), 400, "bad-request", path)
    assert api.auth_sessions.created == []


async def test_a_state_may_have_8_mib(call: Call):
    def state(size: int) -> dict[str, Any]:
        items = [{"name": "x", "value": "a" * size}]
        return {"state": {"cookies": [], "origins": [{"origin": "https://shop.example", "localStorage": items}]}}

    assert (await call("POST", "/import", state(8 * 1024 * 1024 - 300), "recorded")).status_code == 201
    refused(await call("POST", "/import", state(8 * 1024 * 1024), "recorded"), 413, "bad-request")


async def test_list_and_get_say_id_type_and_status_and_no_more(api: Api, call: Call):
    assert (await call("GET")).json() == []
    for name in ("zoe", "anna@home"):
        there_is(api, a_view(name, proxy=SealedProxy(server="http://p:1")))
    answer = await call("GET")
    assert answer.status_code == 200
    assert answer.json() == [
        {"id": "anna@home", "type": "CREDENTIALS", "status": "READY"},
        {"id": "zoe", "type": "CREDENTIALS", "status": "READY"},
    ]
    for path in ("/anna@home", "/anna%40home", "/%61nna@home"):
        assert (await call("GET", path)).json() == {"id": "anna@home", "type": "CREDENTIALS", "status": "READY"}


async def test_an_id_that_is_a_word_of_another_path_is_an_id(api: Api, call: Call):
    for name in ("create", "import", "validate"):
        there_is(api, a_view(name))
        assert (await call("GET", f"/{name}")).json()["id"] == name
    assert (await call("POST", "/create/update", {"parameters": {}})).status_code == 201
    assert (await call("POST", "/create/validate/start", {})).status_code == 201
    assert (await call("DELETE", "/create")).status_code == 204


async def test_delete_is_204_and_then_404(api: Api, call: Call):
    there_is(api, a_view("anna@home"))
    answer = await call("DELETE", "/anna%40home")
    assert (answer.status_code, answer.content) == (204, b"")
    refused(await call("DELETE", "/anna%40home"), 404, "not-found")
    assert api.auth_sessions.known == {}


async def test_one_that_is_a_file_of_the_project_is_not_changed_by_requests(api: Api, call: Call):
    there_is(api, a_view("from-a-file").model_copy(update={"from_file": True}))
    for method, path, body in (
        ("POST", "/from-a-file/update", {"parameters": PARAMETERS}),
        ("DELETE", "/from-a-file", None),
    ):
        assert "Edit the file, or remove it, and deploy" in refused(await call(method, path, body), 409, "conflict")
    assert (await call("POST", "/from-a-file/validate/start", {})).status_code == 201
    assert api.auth_sessions.updates == []
    assert ("members", "from-a-file") in api.auth_sessions.known
    assert [key async for key in api.store.list(keys.auth_session("members", "from-a-file"))] == []


async def test_a_delete_that_no_worker_took_up_is_503_and_may_be_tried_again(api: Api, call: Call):
    there_is(api, a_view())
    api.auth_sessions.failure = Unavailable("The AuthSession will be deleted, but no worker has taken that up yet.")
    answer = await call("DELETE", "/anna")
    assert (answer.status_code, answer.json()["retirable"]) == (503, True)


ALL = [
    ("GET", "", None),
    ("GET", "/anna", None),
    ("DELETE", "/anna", None),
    ("POST", "/create", {"parameters": {}}),
    ("POST", "/import", {"state": STATE}),
    ("GET", "/create/x/result", None),
    ("POST", "/anna/update", {"parameters": {}}),
    ("GET", "/anna/update/x/result", None),
    ("POST", "/anna/validate/start", {}),
    ("GET", "/anna/validate/x/result", None),
]
STARTS = [each for each in ALL if each[0] == "POST"]


@pytest.mark.parametrize(("method", "path", "body"), ALL)
async def test_the_key_the_workspace_and_the_project_are_looked_at_first(
    api: Api, call: Call, method: str, path: str, body: Any
):
    there_is(api, a_view())
    refused(await call(method, path, body, "nope"), 404, "not-found")
    refused(await call(method, path, body, "a' OR 'b"), 404, "not-found")
    url = f"/api/v1/workspace/{WORKSPACE[:-1]}f/projects/members/auth-sessions{path}"
    refused(await api.client.request(method, url, json=body), 404, "not-found")
    del api.client.headers["x-api-key"]
    refused(await call(method, path, body), 401, "unauthorized")


@pytest.mark.parametrize(("method", "path", "body"), [each for each in ALL if "anna" in each[1]])
async def test_an_unknown_auth_session_or_operation_of_any_form_is_404(
    api: Api, call: Call, method: str, path: str, body: Any
):
    there_is(api, a_view("~V1StGXR8_Z5jdHi6B-myT"))
    for name in ("anna", "ab", "~V1StGXR8_Z5jdHi6B-myT", "%7EV1StGXR8_Z5jdHi6B-myT", "a%2Fb", "..%2f..", "x" * 5000):
        refused(await call(method, path.replace("anna", name), body), 404, "not-found")


@pytest.mark.parametrize(("method", "path", "body"), STARTS)
async def test_api_access_off_is_403_before_the_body_is_read(api: Api, call: Call, method: str, path: str, body: Any):
    there_is(api, a_view(), "closed-members")
    assert "apiAccess" in refused(await call(method, path, "no object", "closed-members"), 403, "forbidden")
    refused(await call(method, path, body, "closed-members"), 403, "forbidden")


@pytest.mark.parametrize(("method", "path", "body"), STARTS)
async def test_a_project_that_does_not_log_in_is_400(api: Api, call: Call, method: str, path: str, body: Any):
    there_is(api, a_view(), "shop")
    assert "authSessions.enabled" in refused(await call(method, path, body, "shop"), 400, "bad-request")


async def test_auth_sessions_of_a_project_without_logins_are_seen_and_deleted(api: Api, call: Call):
    for project in ("shop", "closed-members"):
        there_is(api, a_view(), project)
        assert len((await call("GET", project=project)).json()) == 1
        assert (await call("DELETE", "/anna", project=project)).status_code == 204
