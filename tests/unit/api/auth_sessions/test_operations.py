"""AuthSessions over REST: what is refused and how, what is ordered, what is kept, and that nothing is half-made."""

import json
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from callboard_runtime.state import parsed

from callboard.schemas.errors import CallboardError, ConfigurationError, NotFound, Unavailable
from callboard.schemas.workflow.auth import AuthSessionType
from callboard.schemas.workflow.auth_session import AuthSessionView
from callboard.schemas.workflow.proxy import SealedProxy
from callboard.schemas.workflow.run import RunType
from callboard.schemas.workflow.trace import TraceMode
from callboard.security.keyring import KeyRing
from callboard.storage import object_keys
from callboard.storage.folder import FolderStore
from tests.support.api_in_process import Api, MakeApi
from tests.support.constants import WORKSPACE
from tests.support.faulty_store import FaultyStore
from tests.support.present import assert_has, present

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
STORED = SealedProxy(server="http://stored:1", owner="auth-session/anna")
RECORDER = AuthSessionType.RECORDER

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


def operation(answer: httpx.Response, status: str = "started") -> str:
    """The id of the operation that has been accepted."""
    assert answer.status_code == 201, answer.text
    assert answer.json() == {"status": status, "operationId": answer.json()["operationId"]}
    return answer.json()["operationId"]


def refused(answer: httpx.Response, status: int, code: str, path: str | None = None) -> str:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert (body["code"], body["category"], body["retirable"]) == (code, "user", False)
    if path is not None:
        assert body["details"]["path"] == path
    return body["message"]


async def kept(api: Api) -> list[str]:
    return await api.stored("auth-sessions/", "runs/")


async def opened(store: FolderStore, key: str | None, project: str, owner: str) -> Any:
    token = present(await store.get(present(key)))
    assert SECRET.encode() not in token
    return json.loads(RING.open(token.decode("ascii"), bound_to=f"{WORKSPACE}/{project}/auth-session/{owner}"))


async def test_a_create_is_ordered_with_defaults_and_its_parameters_sealed(api: Api, call: Call):
    started = operation(await call("POST", "/create", {"id": "anna@home", "parameters": PARAMETERS}))
    assert re.fullmatch(r"[A-Za-z0-9_-]{21}", started)
    (ordered,) = api.auth_sessions.created
    assert_has(ordered, workspace=WORKSPACE, project="members")
    assert ordered.ref.model_dump() == {"id": "anna@home", "type": "CREDENTIALS", "owner": "anna@home"}
    assert_has(ordered.view, id="anna@home", type="CREDENTIALS", status="PENDING")
    assert_has(ordered.view, login_version=0, state_key=None, proxy=None)
    login, manifest = present(ordered.create), present(await api.services.catalog.get_current("members"))
    assert_has(login, run_id=started, type=RunType.AUTH_SESSION_CREATE, version=manifest.version, proxy=None)
    assert_has(login, create_attempts=3, check_attempts=3, trace=TraceMode.NEVER, request_timeout=timedelta(minutes=10))
    assert login.parameters_key == f"auth-sessions/members/anna@home/parameters-{started}.sealed"
    assert await opened(api.store, login.parameters_key, "members", "anna@home") == PARAMETERS
    note = json.loads(present(await api.store.get(f"runs/members/{started}/accepted.json")))
    assert note["authSessionId"] == "anna@home"
    assert SECRET not in ordered.model_dump_json() + json.dumps(note)


async def test_what_a_create_says_is_what_is_ordered_and_an_id_is_made(api: Api, call: Call):
    said = {"createAttempts": 1, "checkAttempts": 10, "saveTrace": True, "requestTimeout": 5}
    operation(await call("POST", "/create", {"parameters": {}, **said}))
    (ordered,) = api.auth_sessions.created
    assert re.fullmatch(r"auth-session-[A-Za-z0-9_-]{21}", ordered.ref.id)
    login = present(ordered.create)
    assert_has(login, create_attempts=1, check_attempts=10, trace=TraceMode.ALWAYS)
    assert login.request_timeout == timedelta(seconds=5)


async def test_update_orders_another_login(api: Api, call: Call):
    api.add_auth_session("anna@home")
    body = {"parameters": PARAMETERS, "checkAttempts": 1}
    started = operation(await call("POST", "/anna%40home/update", body))
    (login,) = api.auth_sessions.updates
    assert_has(login, run_id=started, type=RunType.AUTH_SESSION_UPDATE)
    assert_has(login, create_attempts=3, check_attempts=1, trace=TraceMode.NEVER)
    assert await opened(api.store, login.parameters_key, "members", "anna@home") == PARAMETERS


async def test_validate_is_ordered_with_the_contract_s_defaults(api: Api, call: Call):
    api.add_auth_session()
    ordered = api.auth_sessions.validates[operation(await call("POST", "/anna/validate/start", {}), "pending")]
    manifest = present(await api.services.catalog.get_current("members"))
    assert_has(ordered, workspace=WORKSPACE, project="members", version=manifest.version)
    assert ordered.ref.model_dump() == {"id": "anna", "type": "CREDENTIALS", "owner": "anna"}
    assert_has(ordered, auto_recreate=True, check_attempts=3, create_attempts=3, request_timeout=timedelta(minutes=10))
    assert_has(ordered, trace=TraceMode.NEVER, proxy=None, parent_run_id=None, is_run_started=False)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/create", [], ""),
        ("/create", {}, "parameters"),
        ("/create", {"parameters": {}, "proxy": f"ftp://u:{SECRET}@h"}, "proxy"),
        ("/anna/update", {"parameters": {}, "id": "anna"}, "id"),
        ("/anna/validate/start", {"proxy": SECRET}, "proxy"),
        ("/import", {"state": {**STATE, "cookies": [{**COOKIE, "sameSite": SECRET}]}}, "state.cookies[0].sameSite"),
    ],
)
async def test_a_wrong_field_is_400_with_its_path(api: Api, call: Call, path: str, body: Any, field: str):
    """What each body may hold is shown by `tests/unit/schemas`."""
    api.add_auth_session()
    before = await kept(api)
    refused(await call("POST", path, body, "recorded" if path == "/import" else "members"), 400, "bad-request", field)
    assert api.auth_sessions.created == api.auth_sessions.updates == []
    assert api.auth_sessions.validates == {}
    assert await kept(api) == before


async def test_parameters_may_have_1_mib_and_a_state_16(api: Api, call: Call):
    def state(size: int) -> dict[str, Any]:
        items = [{"name": "x", "value": "a" * size}]
        return {"state": {"cookies": [], "origins": [{"origin": "https://shop.example", "localStorage": items}]}}

    api.add_auth_session()
    for path in ("/create", "/anna/update"):
        refused(await call("POST", path, {"parameters": {"x": "a" * 1024 * 1024}}), 413, "bad-request", "")
    assert (await call("POST", "/import", state(16 * 1024 * 1024 - 300), "recorded")).status_code == 201
    refused(await call("POST", "/import", state(16 * 1024 * 1024), "recorded"), 413, "bad-request")


@pytest.mark.parametrize("at_the_same_moment", [False, True])
async def test_an_id_that_exists_is_409_and_nothing_of_the_second_is_left(
    api: Api, call: Call, monkeypatch: pytest.MonkeyPatch, *, at_the_same_moment: bool
):
    async def not_yet(*_: str) -> AuthSessionView:
        raise NotFound("There is no such AuthSession.")

    api.add_auth_session("anna-409")
    if at_the_same_moment:
        monkeypatch.setattr(api.auth_sessions, "get", not_yet)
    before = await kept(api)
    message = refused(await call("POST", "/create", {"id": "anna-409", "parameters": PARAMETERS}), 409, "conflict")
    assert at_the_same_moment or "'anna-409'" in message
    assert await kept(api) == before


@pytest.mark.parametrize(
    ("method", "path", "failure", "status", "left"),
    [
        ("POST", "/create", ConfigurationError("Temporal refuses."), 500, 0),
        ("POST", "/create", Unavailable("No answer."), 503, 2),
        ("POST", "/anna/update", NotFound("Gone."), 404, 0),
        ("POST", "/import", NotFound("Gone."), 404, 0),
        ("POST", "/import", Unavailable("No worker took it up."), 503, 1),
        ("DELETE", "/anna", Unavailable("No worker took it up."), 503, 0),
    ],
)
async def test_what_was_kept_goes_only_if_it_is_known_not_to_have_begun(
    api: Api, call: Call, method: str, path: str, failure: CallboardError, status: int, left: int
):
    project, body = "members", {"parameters": PARAMETERS}
    if path == "/import":
        project, body = "recorded", {"id": "anna", "state": STATE}
    api.add_auth_session(project=project, type=RECORDER if path == "/import" else AuthSessionType.CREDENTIALS)
    api.auth_sessions.failure = failure
    before = await kept(api)
    answer = await call(method, path, body if method == "POST" else None, project)
    assert (answer.status_code, answer.json()["retirable"]) == (status, status == 503)
    assert len(await kept(api)) - len(before) == left


async def test_a_store_that_fails_on_the_note_leaves_no_parameters(make_api: MakeApi, artifacts: Path):
    api = await make_api(store=FaultyStore(artifacts, lambda key: key.endswith("accepted.json")))
    before = await kept(api)
    answer = await caller(api)("POST", "/create", {"parameters": PARAMETERS})
    assert (answer.status_code, answer.json()["retirable"]) == (500, True)
    assert api.auth_sessions.created == []
    assert await kept(api) == before


def assert_sealed(proxy: SealedProxy | None, owner: str) -> None:
    """It is `http://u:SECRET@own:1`, for this owner."""
    assert_has(proxy, server="http://own:1", owner=owner)
    assert RING.open(present(present(proxy).password), bound_to=f"{WORKSPACE}/members/{owner}") == SECRET


async def test_a_call_s_own_proxy_goes_before_the_stored_one(api: Api, call: Call):
    own = {"proxy": f"http://u:{SECRET}@own:1"}
    await call("POST", "/create", {"id": "bert", "parameters": {}, **own})
    (created,) = api.auth_sessions.created
    assert_sealed(created.view.proxy, "auth-session/bert")
    assert present(created.create).proxy == created.view.proxy
    api.add_auth_session(proxy=STORED)
    await call("POST", "/anna/update", {"parameters": {}})
    await call("POST", "/anna/update", {"parameters": {}, **own})
    assert api.auth_sessions.updates[0].proxy == STORED
    assert_sealed(api.auth_sessions.updates[1].proxy, "auth-session/anna")
    first = operation(await call("POST", "/anna/validate/start", {}), "pending")
    second = operation(await call("POST", "/anna/validate/start", {**own, "autoRecreate": False}), "pending")
    assert_has(api.auth_sessions.validates[first], proxy=STORED, auto_recreate=True)
    assert_sealed(api.auth_sessions.validates[second].proxy, second)
    assert api.auth_sessions.validates[second].auto_recreate is False


async def test_the_project_s_proxy_serves_those_without_and_is_not_stored(make_project_api: MakeApi):
    settings = {"authSessions": {"enabled": True, "type": "API"}, "proxy": {"deployed": "http://a:b@all:1"}}
    api = await make_project_api(settings, "members")
    call = caller(api)
    create = operation(await call("POST", "/create", {"id": "anna", "parameters": {}}))
    (created,) = api.auth_sessions.created
    assert created.view.proxy is None
    assert_has(present(created.create).proxy, server="http://all:1", owner=create)
    update = operation(await call("POST", "/anna/update", {"parameters": {}}))
    assert present(api.auth_sessions.updates[0].proxy).owner == update
    validate = operation(await call("POST", "/anna/validate/start", {}), "pending")
    assert present(api.auth_sessions.validates[validate].proxy).owner == validate


# Those that people record.


async def test_one_of_the_recorder_is_validated_and_never_made_anew(api: Api, call: Call):
    api.add_auth_session(project="recorded", type=RECORDER)
    started = operation(await call("POST", "/anna/validate/start", {}, "recorded"), "pending")
    ordered = api.auth_sessions.validates[started]
    assert (ordered.ref.type, ordered.auto_recreate) == (RECORDER, False)


async def test_recorded_logins_are_neither_created_nor_updated(api: Api, call: Call):
    api.add_auth_session(project="recorded", type=RECORDER)
    for path in ("/create", "/anna/update"):
        message = refused(await call("POST", path, {"parameters": {}}, "recorded"), 400, "bad-request")
        assert "/auth-sessions/import" in message
    api.add_auth_session("leftover", type=RECORDER)
    refused(await call("POST", "/leftover/update", {"parameters": {}}), 400, "bad-request")
    assert api.auth_sessions.created == api.auth_sessions.updates == []


async def test_an_import_is_201_with_the_auth_session_and_its_state_sealed(api: Api, call: Call):
    answer = await call("POST", "/import", {"id": "anna-import", "state": STATE}, "recorded")
    assert answer.status_code == 201
    assert answer.json() == {"id": "anna-import", "type": "RECORDER", "status": "READY"}
    (ordered,) = api.auth_sessions.created
    assert (ordered.ref.type, ordered.ref.owner, ordered.create) == (RECORDER, "anna-import", None)
    assert_has(ordered.view, login_version=1, parameters_key=None)
    assert present(ordered.view.state_key).startswith("auth-sessions/recorded/anna-import/state-")
    state = await opened(api.store, ordered.view.state_key, "recorded", "anna-import")
    assert state == {**STATE, "sessionStorage": None}
    assert SECRET not in ordered.model_dump_json()
    unnamed = await call("POST", "/import", {"state": STATE}, "recorded")
    assert re.fullmatch(r"auth-session-[A-Za-z0-9_-]{21}", unnamed.json()["id"])


async def test_indexed_db_is_imported_where_the_project_keeps_it(make_project_api: MakeApi):
    store = {"name": "users", "keyPath": "id", "autoIncrement": False, "indexes": []}
    databases = [{"name": "db", "version": 3, "stores": [{**store, "records": [{"value": {"id": 1, "no": None}}]}]}]
    origins = [{"origin": origin, "localStorage": [], "indexedDB": found}
               for origin, found in (("http://a.example", []), ("http://b.example", databases))]  # fmt: skip
    body = {"id": "anna", "state": {"cookies": [], "origins": origins}}
    for keeps in (False, True):
        settings = {"authSessions": {"enabled": True, "type": "MANUAL", "indexedDb": keeps}}
        api = await make_project_api(settings, "recorded")
        answer = await caller(api)("POST", "/import", body, "recorded")
        if keeps:
            assert answer.status_code == 201, answer.text
            (ordered,) = api.auth_sessions.created
            state = parsed(json.dumps(await opened(api.store, ordered.view.state_key, "recorded", "anna")))
            assert state["origins"] == [origins[1]]
        else:
            message = refused(answer, 400, "bad-request", "state.origins[1].indexedDB")
            assert "authSessions.indexedDb is not true" in message


async def test_an_import_to_one_of_the_recorder_records_it_anew(api: Api, call: Call):
    api.add_auth_session(project="recorded", type=RECORDER)
    answer = await call("POST", "/import", {"id": "anna", "state": STATE}, "recorded")
    assert (answer.status_code, answer.json()["status"]) == (201, "READY")
    assert api.auth_sessions.created == []
    key = api.auth_sessions.known["recorded", "anna"].state_key
    assert (await opened(api.store, key, "recorded", "anna"))["cookies"] == [COOKIE]


async def test_nothing_is_imported_to_one_that_was_not_recorded(api: Api, call: Call):
    api.add_auth_session(project="recorded")
    before = await kept(api)
    refused(await call("POST", "/import", {"id": "anna", "state": STATE}, "recorded"), 409, "conflict", "id")
    message = refused(await call("POST", "/import", {"state": STATE}), 400, "bad-request")
    assert "authSessions.type" in message, "this project makes its logins itself"
    assert await kept(api) == before


# Those that are there.


async def test_list_and_get_say_id_type_and_status_and_no_more(api: Api, call: Call):
    assert (await call("GET")).json() == []
    for name in ("zoe", "anna@home"):
        api.add_auth_session(name, proxy=STORED)
    answer = await call("GET")
    assert answer.status_code == 200
    anna, zoe = ({"id": name, "type": "CREDENTIALS", "status": "READY"} for name in ("anna@home", "zoe"))
    assert answer.json() == [anna, zoe]
    for path in ("/anna@home", "/anna%40home", "/%61nna@home"):
        assert (await call("GET", path)).json() == {**anna, "lease": {"heldBy": None, "waiting": 0}}


async def test_an_id_that_is_a_word_of_another_path_is_an_id(api: Api, call: Call):
    for name in ("create", "import", "validate"):
        api.add_auth_session(name)
        assert (await call("GET", f"/{name}")).json()["id"] == name
    operation(await call("POST", "/create/update", {"parameters": {}}))
    operation(await call("POST", "/create/validate/start", {}), "pending")
    assert (await call("DELETE", "/create")).status_code == 204


async def test_delete_is_204_and_then_404(api: Api, call: Call):
    api.add_auth_session("anna@home")
    answer = await call("DELETE", "/anna%40home")
    assert (answer.status_code, answer.content) == (204, b"")
    refused(await call("DELETE", "/anna%40home"), 404, "not-found")
    assert api.auth_sessions.known == {}


async def test_one_that_is_a_file_of_the_project_is_not_changed_by_requests(api: Api, call: Call):
    api.add_auth_session("from-a-file", from_file=True)
    for method, path, body in (
        ("POST", "/from-a-file/update", {"parameters": PARAMETERS}),
        ("DELETE", "/from-a-file", None),
    ):
        assert "Edit the file, or remove it, and deploy" in refused(await call(method, path, body), 409, "conflict")
    operation(await call("POST", "/from-a-file/validate/start", {}), "pending")
    assert api.auth_sessions.updates == []
    assert ("members", "from-a-file") in api.auth_sessions.known
    assert await api.stored(object_keys.auth_session("members", "from-a-file")) == []


async def test_a_project_without_logins_takes_none(api: Api, call: Call):
    api.add_auth_session(project="shop")
    for path, body in (("/create", PARAMETERS), ("/import", STATE), ("/anna/update", {}), ("/anna/validate/start", {})):
        given = {"state": body} if body is STATE else {"parameters": body} if "validate" not in path else body
        assert "authSessions.enabled" in refused(await call("POST", path, given, "shop"), 400, "bad-request")


async def test_what_is_left_of_a_project_without_logins_is_seen_and_deleted(api: Api, call: Call):
    for project in ("shop", "closed-members"):
        api.add_auth_session(project=project)
        assert len((await call("GET", project=project)).json()) == 1
        assert (await call("DELETE", "/anna", project=project)).status_code == 204
