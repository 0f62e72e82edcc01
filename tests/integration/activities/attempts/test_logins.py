"""The login that an Attempt begins with and what becomes of it: a real store, a real key ring, a real Temporal."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.exceptions import ApplicationError

from activities.attempts import logins as module
from activities.attempts.logins import Logins, OpenedLogin
from activities.attempts.runtime_services import RuntimeServices, StoreQuota
from callboard.schemas.errors import ConfigurationError, SealError, StoreError
from callboard.schemas.workflow import names
from callboard.schemas.workflow.attempt import AUTH_SESSION_GONE, NO_LOGIN, AttemptInput, AttemptKind, ResolvedSecret
from callboard.schemas.workflow.auth import AttemptAuth, AuthSessionStatus, CheckReport, LoginState, SavedBack
from callboard.security import seal_context
from callboard.security.keyring import KeyRing
from callboard.storage import object_keys
from tests.support.attempt_worker import attempt_input
from tests.support.auth_stage import ID, PARAMETERS, PASSWORD, SESSION, LoginStage, browser_state
from tests.support.faulty_store import FaultyStore, failing
from tests.support.present import present
from tests.support.stage import WORKSPACE


class Scene:
    """An AuthSession, whose workflow no worker serves, and what an Attempt does with its login."""

    def __init__(self, stage: LoginStage, folder: Path) -> None:
        self.stage = stage
        self.store = FaultyStore(folder)
        self.keyring = KeyRing(["the secret key of these tests"])
        self.logins = Logins(stage.client, self.store, self.keyring)

    def attempt_input(self, kind: AttemptKind = AttemptKind.CHECK, *, number: int = 1) -> AttemptInput:
        return attempt_input("run-1", number, workspace=WORKSPACE, project=self.stage.project, kind=kind)

    def auth(self, **fields: Any) -> AttemptAuth:
        return AttemptAuth(ref=self.stage.ref, **fields)

    async def load(
        self, state: LoginState | None = None, *, secret: tuple[str, ...] = (), number: int = 1
    ) -> OpenedLogin:
        return await self.logins.load(self.attempt_input(number=number), self.auth(initial_login=state), secret, {})

    async def there(self, session: str = SESSION, *, login: int = 1, name: str = "first") -> LoginState:
        """A login that lies in the store."""
        state = object_keys.auth_session_state(self.stage.project, ID, name)
        parameters = object_keys.auth_session_parameters(self.stage.project, ID, name)
        await self.put(state, browser_state(session))
        await self.put(parameters, PARAMETERS)
        return LoginState(login_version=login, key=state, parameters_key=parameters)

    async def put(self, key: str, text: str, owner: str = ID) -> None:
        await self.store.put(key, self.sealed(text, owner))

    def sealed(self, text: str, owner: str = ID) -> bytes:
        bound_to = seal_context.auth_session(WORKSPACE, self.stage.project, owner)
        return self.keyring.seal(text, bound_to=bound_to).encode("ascii")

    async def opened(self, key: str) -> str:
        token = present(await self.store.get(key))
        bound_to = seal_context.auth_session(WORKSPACE, self.stage.project, ID)
        return self.keyring.open(token.decode("ascii"), bound_to=bound_to)

    async def bring_up(self, state: LoginState, **view: Any) -> None:
        fields: dict[str, Any] = {"login_version": state.login_version, "state_key": state.key}
        fields |= {"parameters_key": state.parameters_key, **view}
        await self.stage.bring_up(**fields)

    async def told[N: (SavedBack, CheckReport)](self, signal: str, kind: type[N]) -> list[N]:
        """What the AuthSession was told by this signal."""
        converter = self.stage.client.data_converter
        found: list[N] = []
        for event in await self.stage.events(self.stage.session.id):
            said = event.workflow_execution_signaled_event_attributes
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED and said.signal_name == signal:
                found += await converter.decode(said.input.payloads, [kind])
        return found

    def artifacts(self) -> list[bytes]:
        return [data for _, data in self.store.writes]


@pytest.fixture
async def scene(name: str, client: Client, tmp_path: Path) -> AsyncGenerator[Scene]:
    async with LoginStage(client, name) as stage:
        yield Scene(stage, tmp_path / "artifacts")


# What an Attempt begins with.


async def test_a_check_begins_with_the_current_login(scene: Scene) -> None:
    await scene.bring_up(state := await scene.there())
    loaded = await scene.load()
    assert loaded == OpenedLogin(state, browser_state(), PARAMETERS, (PASSWORD,))


async def test_what_must_not_be_shown_is_found_and_is_in_no_repr(scene: Scene) -> None:
    await scene.bring_up(await scene.there())
    loaded = await scene.load(secret=("favourite",))
    assert set(loaded.secrets) == {PASSWORD, "a-blue-one"}
    assert not any(secret in repr(loaded) for secret in loaded.secrets)


@pytest.mark.parametrize(("status", "expired"), [(AuthSessionStatus.EXPIRED, True), (AuthSessionStatus.READY, False)])
async def test_it_knows_whether_the_auth_session_takes_it_for_bad(
    scene: Scene, status: AuthSessionStatus, expired: bool
) -> None:
    await scene.bring_up(await scene.there(), status=status)
    assert (await scene.load()).expired is expired


async def test_an_attempt_begins_with_the_login_that_its_validate_found_good(scene: Scene) -> None:
    await scene.bring_up(await scene.there("the current one", login=2, name="second"))
    state = await scene.there()
    loaded = await scene.load(state)
    assert (loaded.login, loaded.storage_state) == (state, browser_state())


async def test_and_with_the_current_one_if_that_has_been_removed(scene: Scene) -> None:
    second = await scene.there("the current one", login=2, name="second")
    await scene.bring_up(second)
    loaded = await scene.load(
        LoginState(login_version=1, key=object_keys.auth_session_state(scene.stage.project, ID, "gone"))
    )
    assert (loaded.login, loaded.storage_state) == (second, browser_state("the current one"))


async def test_a_login_that_is_replaced_as_it_is_read_is_read_anew(scene: Scene) -> None:
    first = await scene.there()
    await scene.bring_up(first)
    second = await scene.there("the newer one", login=2, name="second")
    read = scene.store.get

    async def replaced(key: str) -> bytes | None:
        if key == first.key:
            await scene.stage.session.terminate()
            await scene.bring_up(second)
            return None
        return await read(key)

    scene.store.get = replaced  # pyright: ignore[reportAttributeAccessIssue]  # as it happens between two steps
    loaded = await scene.load()
    assert (loaded.login, loaded.storage_state) == (second, browser_state("the newer one"))


async def test_an_imported_login_has_no_parameters(scene: Scene) -> None:
    scene.stage.recorder()
    state = (await scene.there()).model_copy(update={"parameters_key": None})
    await scene.bring_up(state)
    assert await scene.load() == OpenedLogin(state, browser_state(), None, ())


async def test_a_create_begins_with_its_parameters_alone(scene: Scene) -> None:
    state = await scene.there()
    auth = scene.auth(new_login_version=2, parameters_key=state.parameters_key)
    login = await scene.logins.load(scene.attempt_input(AttemptKind.CREATE), auth, (), {})
    assert login == OpenedLogin(None, None, PARAMETERS, (PASSWORD,))


async def test_references_to_secrets_are_replaced_or_it_is_said_which_is_missing(scene: Scene) -> None:
    state = await scene.there()
    assert state.parameters_key
    await scene.put(state.parameters_key, '{"user": "anna", "more": [{"password": {"$secret": "SHOP_KEY"}}]}')
    auth = scene.auth(new_login_version=2, parameters_key=state.parameters_key)

    async def load(**secrets: ResolvedSecret) -> OpenedLogin:
        return await scene.logins.load(scene.attempt_input(AttemptKind.CREATE), auth, (), secrets)

    found = await load(SHOP_KEY=ResolvedSecret(value="hunter2-hunter2"))
    assert json.loads(present(found.parameters)) == {"user": "anna", "more": [{"password": "hunter2-hunter2"}]}
    assert (found.secrets, found.problem) == (("hunter2-hunter2",), None)
    assert "hunter2" not in repr(found)
    missing = await load(SHOP_KEY=ResolvedSecret(problem="The secret SHOP_KEY is not there."))
    assert "The secret SHOP_KEY is not there." in present(missing.problem)
    assert "have changed" in present((await load()).problem)
    quota = StoreQuota(scene.store, 0)
    services = RuntimeServices(
        scene.store,
        scene.stage.project,
        quota,
        auth_session=scene.stage.ref,
        parameters=missing.parameters,
        parameters_problem=missing.problem,
    )
    with pytest.raises(ConfigurationError, match="The secret SHOP_KEY is not there"):
        await services.answer_request("auth_session_parameters", {})


async def test_a_store_that_is_away_for_a_moment_costs_time_only(scene: Scene) -> None:
    await scene.bring_up(await scene.there())
    scene.store.refuse = failing(1, "state-first.sealed")
    assert (await scene.load()).storage_state == browser_state()


# What there is nothing to begin with.


async def fails(begun: Awaitable[Any], kind: str) -> ApplicationError:
    with pytest.raises(ApplicationError) as caught:
        await begun
    assert (caught.value.type, caught.value.non_retryable) == (kind, True)
    return caught.value


async def test_where_there_was_no_login_yet_that_is_told(scene: Scene) -> None:
    await scene.stage.bring_up(login_version=0, state_key=None)
    error = await fails(scene.load(number=3), NO_LOGIN)
    assert error.details == (0, 3)
    assert error.message == f"AuthSession '{ID}' has no login yet."


async def test_a_login_that_the_store_has_lost_is_as_good_as_a_bad_one(scene: Scene) -> None:
    state = await scene.there()
    await scene.bring_up(state)
    await scene.store.delete(state.key)
    error = await fails(scene.load(number=2), NO_LOGIN)
    assert error.details == (1, 2)
    assert error.message == f"The login of AuthSession '{ID}' is not in the artifact store any more."


async def test_where_the_auth_session_is_gone_that_is_told(scene: Scene) -> None:
    error = await fails(scene.load(number=2), AUTH_SESSION_GONE)
    assert (error.details, error.message) == ((2,), f"AuthSession '{ID}' is not there any more: it was deleted.")


async def test_also_where_its_state_has_gone_with_it(scene: Scene) -> None:
    state = await scene.there()
    await scene.store.delete(state.key)
    await fails(scene.load(state), AUTH_SESSION_GONE)


@pytest.mark.parametrize("which", ["state", "parameters"])
async def test_what_was_sealed_for_another_auth_session_is_not_opened(scene: Scene, which: str) -> None:
    state = await scene.there()
    key = state.key if which == "state" else present(state.parameters_key)
    await scene.put(key, browser_state(), owner="bob")
    with pytest.raises(SealError) as caught:
        await scene.load(state)
    assert SESSION not in caught.value.message


# What becomes of it.


async def test_the_state_that_a_create_leaves_is_sealed_for_its_auth_session(scene: Scene) -> None:
    auth = scene.auth(new_login_version=2, parameters_key="parameters-2")
    state = await scene.logins.save_created(scene.attempt_input(AttemptKind.CREATE), auth, browser_state())
    assert (state.login_version, state.parameters_key) == (2, "parameters-2")
    assert state.key.startswith(object_keys.auth_session(scene.stage.project, ID))
    assert await scene.opened(state.key) == browser_state()
    assert all(SESSION.encode() not in data for data in scene.artifacts())
    again = await scene.logins.save_created(scene.attempt_input(AttemptKind.CREATE), auth, browser_state())
    assert again.key != state.key, "no state is ever written over another"


async def saved_back(scene: Scene, text: str | None, kind: AttemptKind = AttemptKind.API, **auth: Any) -> LoginState:
    """The login after a good Attempt that has left this state."""
    state = LoginState(login_version=1, key="before", parameters_key="parameters-1")
    login = OpenedLogin(state, browser_state(), PARAMETERS)
    after = present(await scene.logins.save_refreshed(scene.attempt_input(kind), scene.auth(**auth), login, text))
    assert (after.login_version, after.parameters_key) == (1, "parameters-1")
    return after


@pytest.mark.parametrize("kind", [AttemptKind.API, AttemptKind.CHECK])
async def test_what_a_good_attempt_has_changed_is_saved_back(scene: Scene, kind: AttemptKind) -> None:
    await scene.bring_up(await scene.there())
    after = await saved_back(scene, browser_state("rotated"), kind)
    assert await scene.opened(after.key) == browser_state("rotated")
    assert await scene.told(names.SAVED_BACK, SavedBack) == [SavedBack(before="before", after=after.key)]
    assert all(b"rotated" not in data for data in scene.artifacts())


@pytest.mark.parametrize(("text", "save_back"), [(None, True), (browser_state("rotated"), False)])
async def test_what_has_not_changed_or_is_not_to_be_saved_back_is_not(
    scene: Scene, text: str | None, save_back: bool
) -> None:
    await scene.bring_up(await scene.there())
    written = len(scene.artifacts())
    assert (await saved_back(scene, text, save_back=save_back)).key == "before"
    assert len(scene.artifacts()) == written
    assert await scene.told(names.SAVED_BACK, SavedBack) == []


async def test_a_store_that_fails_costs_the_change_and_nothing_else(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.bring_up(await scene.there())
    monkeypatch.setattr(module, "_REFRESHED_STORE_TIMEOUT", timedelta(milliseconds=100))
    scene.store.refuse = lambda _key: True
    assert (await saved_back(scene, browser_state("rotated"))).key == "before"
    assert await scene.told(names.SAVED_BACK, SavedBack) == []
    assert f"what the site changed of AuthSession {ID} is lost" in caplog.text
    assert "rotated" not in caplog.text


async def test_a_login_that_cannot_be_kept_is_none(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ATTEMPT_STORE_TIMEOUT", timedelta(milliseconds=100))
    scene.store.refuse = lambda _key: True
    with pytest.raises(StoreError):
        await scene.logins.save_created(
            scene.attempt_input(AttemptKind.CREATE), scene.auth(new_login_version=1), browser_state()
        )


async def test_an_auth_session_that_is_gone_by_then_is_told_nothing(scene: Scene) -> None:
    assert (await saved_back(scene, browser_state("rotated"))).key != "before"


@pytest.mark.parametrize(
    ("kind", "expired", "told"),
    [
        (AttemptKind.CHECK, True, [CheckReport(login_version=1, good=True)]),
        (AttemptKind.CHECK, False, []),
        (AttemptKind.API, True, []),
    ],
)
async def test_only_a_good_check_of_an_expired_login_is_reported(
    scene: Scene, kind: AttemptKind, expired: bool, told: list[CheckReport]
) -> None:
    await scene.bring_up(state := await scene.there())
    login = OpenedLogin(state, browser_state(), PARAMETERS, expired=expired)
    assert await scene.logins.save_refreshed(scene.attempt_input(kind), scene.auth(), login, None) == state
    assert await scene.told(names.CHECKED, CheckReport) == told
