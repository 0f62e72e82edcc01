"""What an Attempt gets of environment variables: whose win, who sees which, and that nobody reads them on the way."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from activities.variables import VariableActivities
from callboard.projects.secret_references import SecretSources
from callboard.projects.variables import DevFolders, Variables
from callboard.schemas.rest.env_vars import SetVariable, VariableScope
from callboard.schemas.workflow.attempt import (
    AttemptInput,
    AttemptKind,
    AttemptVariables,
    ResolvedSecret,
    SealedVariables,
    VariableSource,
)
from callboard.schemas.workflow.auth import AttemptAuth, AuthSessionRef, AuthSessionType, LoginState
from callboard.schemas.workflow.base import JsonRef
from callboard.security import seal_context
from callboard.security.keyring import KeyRing
from callboard.storage import object_keys
from callboard.storage.folder import FolderStore
from tests.support.in_memory_temporal import MemoryAuthSessions
from tests.support.present import present

SECRET = "a-value-that-nobody-may-read"
INPUT = AttemptInput(
    workspace="w",
    run_id="run-1",
    number=1,
    project="shop",
    version="0123456789abcdef",
    api="list",
    parameters=JsonRef(text="{}", size=2),
    request_timeout=timedelta(minutes=1),
)
BOTH = [VariableScope.AUTHORING, VariableScope.PUBLISHED]


class Bench:
    def __init__(self, folder: Path) -> None:
        self.store = FolderStore(folder / "artifacts")
        self.ring = KeyRing(["a-key-of-sixteen-characters"])
        self.variables = Variables("w", self.store, self.ring)
        self.auth_sessions = MemoryAuthSessions()
        self.folder = folder

    async def set(self, project: str | None, name: str, value: str, **fields: Any) -> None:
        await self.variables.set(project, name, SetVariable(value=value, **fields), by="me")

    async def collect(
        self,
        scope: VariableScope = VariableScope.PUBLISHED,
        dev: DevFolders | None = None,
        attempt: AttemptInput = INPUT,
    ) -> SealedVariables | None:
        sources = SecretSources(self.folder / "secrets")
        of_them: Any = self.auth_sessions
        activities = VariableActivities(
            variables=self.variables,
            store=self.store,
            keyring=self.ring,
            sources=sources,
            auth_sessions=of_them,
            scope=scope,
            dev=dev,
        )
        return await activities.collect_variables(attempt)

    async def opened(self, sealed: SealedVariables | None) -> AttemptVariables:
        token = present(sealed).token or present(await self.store.get(present(present(sealed).key))).decode()
        bound_to = seal_context.run_variables("w", "shop", "run-1")
        return AttemptVariables.model_validate_json(self.ring.open(token, bound_to=bound_to))

    async def seen(self, *args: Any) -> dict[str, tuple[str, VariableSource, bool]]:
        opened = await self.opened(await self.collect(*args))
        return {each.name: (each.value, each.source, each.secret) for each in opened.variables}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_without_variables_nothing_is_sealed(bench: Bench):
    await bench.set("other", "A", "of another project")
    await bench.set("shop", "A", "1", scopes=[VariableScope.AUTHORING])
    assert await bench.collect() is None


async def test_those_of_the_project_win_in_their_scope(bench: Bench):
    await bench.set(None, "A", "workspace", scopes=BOTH)
    await bench.set(None, "B", "workspace", secret=True, scopes=BOTH)
    await bench.set("shop", "A", "project")
    assert await bench.seen() == {
        "A": ("project", VariableSource.PROJECT, False),
        "B": ("workspace", VariableSource.WORKSPACE, True),
    }
    assert (await bench.seen(VariableScope.AUTHORING))["A"] == ("workspace", VariableSource.WORKSPACE, False)


async def test_the_env_file_of_a_project_folder_goes_over_them(bench: Bench, tmp_path: Path):
    folder = tmp_path / "projects" / "shop"
    folder.mkdir(parents=True)
    (folder / "Intuned.jsonc").write_text("{}")
    (folder / ".env").write_text(f"KEY={SECRET}\nHOME=/root\nown=1\n")
    await bench.set("shop", "KEY", "stored", secret=True, scopes=[VariableScope.AUTHORING])
    seen = await bench.seen(VariableScope.AUTHORING, DevFolders(folder.parent))
    assert seen == {"KEY": (SECRET, VariableSource.FILE, True), "own": ("1", VariableSource.FILE, False)}


async def test_a_change_is_there_for_the_next_attempt(bench: Bench):
    for value in ("one", "two"):
        await bench.set("shop", "A", value)
        assert (await bench.seen())["A"][0] == value
    await bench.variables.delete("shop", "A")
    assert await bench.collect() is None


async def test_they_are_sealed_for_the_run_and_large_ones_lie_with_it(bench: Bench):
    await bench.set("shop", "KEY", SECRET, secret=True)
    small = present(await bench.collect())
    assert small.key is None
    assert SECRET not in present(small.token) + repr(small)
    await bench.set("shop", "LARGE", f"{SECRET} " * 1_000)
    large = [present(await bench.collect()) for _ in range(2)]
    assert large[0] == large[1], "the same variables are written once"
    key = present(large[0].key)
    assert (large[0].token, key.startswith("runs/shop/run-1/variables-")) == (None, True)
    assert SECRET.encode() not in present(await bench.store.get(key))
    opened = await bench.opened(large[0])
    assert opened.secret_values == (SECRET,)
    assert SECRET not in repr(opened)


# What parameters of AuthSessions refer to.


PARAMETERS = {"user": "anna", "password": {"$secret": "KEY"}, "more": [{"code": {"$secret": "file:codes/first"}}]}


async def with_parameters(bench: Bench, kind: AttemptKind, made: AuthSessionType = AuthSessionType.CREDENTIALS) -> Any:
    """An Attempt with a login that was made, or is to be made, from `PARAMETERS`."""
    key = "auth-sessions/shop/anna/parameters-1.sealed"
    token = bench.ring.seal(json.dumps(PARAMETERS), bound_to=seal_context.auth_session("w", "shop", "anna"))
    await bench.store.put(key, token.encode())
    ref = AuthSessionRef(id="anna", type=made, owner="anna")
    login = LoginState(login_version=1, key="k", parameters_key=key)
    given: dict[str, Any] = {"parameters_key": key} if kind is AttemptKind.CREATE else {"initial_login": login}
    return INPUT.model_copy(update={"kind": kind, "auth": AttemptAuth(ref=ref, **given)})


@pytest.mark.parametrize("kind", [AttemptKind.CREATE, AttemptKind.CHECK, AttemptKind.API])
async def test_what_parameters_refer_to_comes_with_each_attempt(bench: Bench, kind: AttemptKind):
    attempt = await with_parameters(bench, kind)
    await bench.set("shop", "KEY", SECRET)
    opened = await bench.opened(await bench.collect(attempt=attempt))
    assert opened.secrets["KEY"] == ResolvedSecret(value=SECRET)
    problem = present(opened.secrets["file:codes/first"].problem)
    assert problem.startswith("The secret file:codes/first is not there: ")
    assert SECRET in opened.secret_values, "it counts as a secret, though the variable does not"
    (bench.folder / "secrets" / "shop" / "codes").mkdir(parents=True)
    (bench.folder / "secrets" / "shop" / "codes" / "first").write_text("123456\n")
    await bench.set("shop", "KEY", "another")
    opened = await bench.opened(await bench.collect(attempt=attempt))
    assert {each.value for each in opened.secrets.values()} == {"another", "123456"}


async def test_an_imported_login_refers_to_nothing(bench: Bench):
    attempt = await with_parameters(bench, AttemptKind.CHECK, AuthSessionType.RECORDER)
    assert await bench.collect(attempt=attempt) is None


async def test_a_variable_that_cannot_be_read_is_not_quoted_in_the_error(bench: Bench):
    bound_to = seal_context.variable("w", "shop", "KEY")
    from_elsewhere = bench.ring.seal(json.dumps({"name": "KEY", "value": SECRET}), bound_to=bound_to)
    await bench.store.put(object_keys.variable("shop", "KEY"), from_elsewhere.encode())
    with pytest.raises(ValueError, match="updated_by") as error:
        await bench.collect()
    assert SECRET not in str(error.value)
    with pytest.raises(ValueError, match="secret") as error:
        AttemptVariables.model_validate({"variables": [{"name": "KEY", "value": SECRET}]})
    assert SECRET not in str(error.value)
