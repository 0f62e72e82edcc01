"""A project's `defaults` and `proxy` fill what a start leaves out, and nothing else."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from callboard.schemas.workflow.run import RetryIntervals, RunInput
from callboard.security.keyring import KeyRing
from tests.support.api_in_process import SECRET, MakeApi
from tests.support.constants import WORKSPACE
from tests.support.present import assert_has, present

DEFAULTS: dict[str, Any] = {
    "defaults": {"proxy": "http://anna:p%40ss@default:3128", "retry": {"maximumAttempts": 5}, "requestTimeout": 60}
}
PROXIES = {"proxy": {"dev": "http://on-my-desk:1", "deployed": "http://in-production:2"}}

StartRun = Callable[..., Awaitable[RunInput]]


@pytest.fixture
async def ordered(make_project_api: MakeApi) -> StartRun:
    """Starts a Run of a project with these settings; what it is ordered with."""

    async def start(settings: dict[str, Any], environment: str = "deployed", **fields: Any) -> RunInput:
        api = await make_project_api(settings, environment=environment)
        return api.input_of(await api.run(**fields))

    return start


@pytest.mark.parametrize(
    "said", [{}, {"retry": None, "requestTimeout": None, "proxy": None}, {"retry": {"maximumAttempts": None}}]
)
async def test_what_a_start_leaves_out_is_the_project_s_default(ordered: StartRun, said: dict[str, Any]):
    run_input = await ordered(DEFAULTS, **said)
    assert_has(run_input, maximum_attempts=5, request_timeout=timedelta(seconds=60))
    proxy = present(run_input.proxy)
    assert proxy.server == "http://default:3128"
    assert "p@ss" not in run_input.model_dump_json()
    with pytest.raises(Exception, match="sealed for another owner"):
        KeyRing([SECRET]).open(present(proxy.password), bound_to=f"{WORKSPACE}/shop/")


async def test_a_start_s_own_fields_win_even_if_they_equal_contract_defaults(ordered: StartRun):
    run_input = await ordered(DEFAULTS, retry={"maximumAttempts": 3}, requestTimeout=600, proxy="http://own:80")
    assert_has(run_input, maximum_attempts=3, request_timeout=timedelta(seconds=600))
    assert present(run_input.proxy).server == "http://own:80"


async def test_a_run_is_counted_if_its_project_has_alerts(ordered: StartRun):
    alert = {"failures": 1, "within": 60, "url": "https://hook.example"}
    assert [(await ordered({"alerts": alerts})).has_alerts for alerts in ([], [alert])] == [False, True]


async def test_each_interval_is_the_start_s_or_the_project_s_or_callboard_s(ordered: StartRun):
    project = {"defaults": {"retry": {"initialInterval": "2 minutes", "maximumInterval": 600}}}
    said = {"initialInterval": 3, "backoffCoefficient": 1.5}
    two_minutes, ten_minutes = timedelta(minutes=2), timedelta(minutes=10)
    for settings, retry, expected in (
        ({}, {}, RetryIntervals()),
        (project, {}, RetryIntervals(initial_interval=two_minutes, maximum_interval=ten_minutes)),
        (
            project,
            said,
            RetryIntervals(
                initial_interval=timedelta(seconds=3), backoff_coefficient=1.5, maximum_interval=ten_minutes
            ),
        ),
        (project, {"initialInterval": 0}, RetryIntervals(maximum_interval=ten_minutes)),
    ):
        assert (await ordered(settings, retry=retry)).retry_intervals == expected


@pytest.mark.parametrize(
    ("environment", "server"), [("dev", "http://on-my-desk:1"), ("deployed", "http://in-production:2")]
)
async def test_the_project_s_proxy_is_that_of_the_environment(ordered: StartRun, environment: str, server: str):
    assert present((await ordered(PROXIES, environment)).proxy).server == server
    assert present((await ordered(PROXIES | DEFAULTS, environment)).proxy).server == "http://default:3128"
    disabled = {"proxy": {"enabled": False, **PROXIES["proxy"]}}
    assert (await ordered(disabled, environment)).proxy is None


async def test_a_repeat_is_the_same_run_also_after_the_defaults_have_changed(make_project_api: MakeApi):
    body = {"api": "list", "parameters": {}}
    before = await make_project_api({})
    first = await before.start(body, idempotency_key="order-7")
    after = await make_project_api(DEFAULTS, runs=before.runs)
    assert (await after.start(body, idempotency_key="order-7")).json() == first.json()
    assert len(before.runs.entries) == 1
    said = {**body, "retry": {"maximumAttempts": 3}}
    assert (await after.start(said, idempotency_key="order-7")).status_code == 409
