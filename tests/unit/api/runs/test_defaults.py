"""A project's `defaults` and `proxy` fill what a start leaves out, and nothing else."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from projects.deploy import deploy
from schemas.workflow.run import RunInput
from security.keyring import KeyRing
from storage.folder import FolderStore
from tests.support.api_in_process import MakeApi
from tests.support.constants import WORKSPACE

SECRET = "the older secret key of the ring"
AUTOMATION = "async def automation(page, params=None, **_kwargs):\n    return 1\n"
DEFAULTS = """
defaults:
  proxy: http://anna:p%40ss@default:3128
  retry: {maximumAttempts: 5}
  requestTimeout: 60
"""
PROXIES = "proxy: {dev: http://on-my-desk:1, deployed: http://in-production:2}"

StartRun = Callable[..., Awaitable[RunInput]]


async def publish(folder: Path, store: FolderStore, settings: str) -> None:
    (folder / "api").mkdir(parents=True, exist_ok=True)
    (folder / "api" / "list.py").write_text(AUTOMATION)
    (folder / "Intuned.yaml").write_text(settings)
    await deploy(folder, store)


@pytest.fixture
async def ordered(tmp_path: Path, make_api: MakeApi) -> StartRun:
    """Starts a Run of a project with these settings; what it is ordered with."""

    async def start(settings: str, environment: str = "deployed", **fields: Any) -> RunInput:
        store = FolderStore(tmp_path / "artifacts")
        await publish(tmp_path / "shop", store, settings)
        api = await make_api(store=store, environment=environment)
        return api.input_of(await api.run(**fields))

    return start


async def test_what_a_start_leaves_out_is_the_project_s_default(ordered: StartRun):
    run_input = await ordered(DEFAULTS)
    assert run_input.maximum_attempts == 5
    assert run_input.request_timeout == timedelta(seconds=60)
    assert run_input.proxy is not None
    assert run_input.proxy.server == "http://default:3128"
    owner = f"{WORKSPACE}/shop/"
    assert run_input.proxy.password is not None
    assert "p@ss" not in run_input.model_dump_json()
    with pytest.raises(Exception, match="sealed for another owner"):
        KeyRing([SECRET]).open(run_input.proxy.password, bound_to=owner)


async def test_null_is_left_out(ordered: StartRun):
    run_input = await ordered(DEFAULTS, retry=None, requestTimeout=None, proxy=None)
    assert (run_input.maximum_attempts, run_input.request_timeout) == (5, timedelta(seconds=60))
    assert run_input.proxy is not None
    assert (await ordered(DEFAULTS, retry={})).maximum_attempts == 5
    assert (await ordered(DEFAULTS, retry={"maximumAttempts": None})).maximum_attempts == 5


async def test_a_start_s_own_fields_win_even_if_they_equal_contract_defaults(ordered: StartRun):
    run_input = await ordered(DEFAULTS, retry={"maximumAttempts": 3}, requestTimeout=600, proxy="http://own:80")
    assert (run_input.maximum_attempts, run_input.request_timeout) == (3, timedelta(seconds=600))
    assert run_input.proxy is not None
    assert run_input.proxy.server == "http://own:80"


@pytest.mark.parametrize(
    ("environment", "server"), [("dev", "http://on-my-desk:1"), ("deployed", "http://in-production:2")]
)
async def test_the_project_s_proxy_is_that_of_the_environment(ordered: StartRun, environment: str, server: str):
    run_input = await ordered(PROXIES, environment)
    assert run_input.proxy is not None
    assert run_input.proxy.server == server
    run_input = await ordered(PROXIES + DEFAULTS, environment)
    assert run_input.proxy is not None
    assert run_input.proxy.server == "http://default:3128"
    run_input = await ordered("proxy: {enabled: false, dev: http://a:1, deployed: http://b:2}", environment)
    assert run_input.proxy is None


async def test_an_idempotent_repeat_is_the_same_run_after_defaults_changed(tmp_path: Path, make_api: MakeApi):
    store, body = FolderStore(tmp_path / "artifacts"), {"api": "list", "parameters": {}}
    await publish(tmp_path / "shop", store, "{}")
    before = await make_api(store=store)
    first = await before.start(body, idempotency_key="order-7")
    await publish(tmp_path / "shop", store, DEFAULTS)
    after = await make_api(store=store, runs=before.runs)
    assert (await after.start(body, idempotency_key="order-7")).json() == first.json()
    assert len(before.runs.entries) == 1
    said = {**body, "retry": {"maximumAttempts": 3}}
    assert (await after.start(said, idempotency_key="order-7")).status_code == 409
