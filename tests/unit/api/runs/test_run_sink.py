"""A start with a sink: where it may lead, what is sealed of it, and whose it is."""

import socket
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from callboard.schemas.workflow.run import RunInput
from callboard.security import seal_context
from callboard.security.keyring import KeyRing
from callboard.security.sealed_sinks import open_sink
from tests.support.api_in_process import Api, MakeApi
from tests.support.constants import WORKSPACE
from tests.support.present import assert_has, present

RING = KeyRing(["the older secret key of the ring"])
SECRET = "t0p-s3cret"
ALLOW = ["127.0.0.0/8"]

HOOK = "http://127.0.0.1:9/in"
WEBHOOK = {"type": "webhook", "url": f"{HOOK}?token={SECRET}", "headers": {"Authorization": f"Bearer {SECRET}"}}
S3 = {"type": "s3", "bucket": "b-1", "accessKeyId": "AKIDEXAMPLE", "secretAccessKey": SECRET, "region": "eu-central-1"}

StartRun = Callable[..., Awaitable[RunInput]]


@pytest.mark.parametrize(
    "sink",
    [
        {**WEBHOOK, "skipOnFail": True, "apisToSend": ["list"]},
        {**S3, "endpoint": "http://127.0.0.1:9", "forcePathStyle": True, "prefix": "runs/"},
        S3,  # of AWS, which needs no look-up
    ],
)
async def test_a_sink_is_sealed_for_its_run(make_api: MakeApi, sink: dict[str, Any]):
    """What that hides is shown by `tests/unit/security/test_sealed_sinks.py`."""
    api = await make_api(egress_allow=ALLOW)
    run_id = await api.run(sink=sink)
    run_input = api.input_of(run_id)
    assert SECRET not in run_input.model_dump_json() + repr(run_input)
    opened = open_sink(present(run_input.sink), RING, seal_context.run(WORKSPACE, "shop", run_id))
    assert sink.items() <= opened.items()


@pytest.mark.parametrize(
    ("sink", "path", "words"),
    [
        ({"type": "webhook", "url": "https://localhost/"}, "sink.url", "localhost leads to a loopback address"),
        ({"type": "webhook", "url": "http://169.254.169.254/"}, "sink.url", "where clouds keep their metadata"),
        ({**S3, "endpoint": "http://127.0.0.1:9000"}, "sink.endpoint", "leads to a loopback address"),
        ({**S3, "endpoint": "http://[fd00:ec2::254]"}, "sink.endpoint", "leads to an address of a private network"),
    ],
)
async def test_a_sink_that_leads_within_is_refused_with_field_and_reason(api: Api, sink: Any, path: str, words: str):
    """Which addresses these are is shown by `tests/unit/security/test_egress.py`."""
    answer = await api.start({"api": "list", "parameters": {}, "sink": sink})
    assert answer.status_code == 400
    body = answer.json()
    assert body["details"]["path"] == path
    assert body["message"].startswith(f"{path}: ")
    assert words in body["message"]
    assert "CALLBOARD_EGRESS_ALLOW" in body["message"]
    assert SECRET not in answer.text
    assert api.runs.entries == {}


async def test_a_bucket_is_looked_up_by_the_name_that_will_be_connected_to(
    make_api: MakeApi, monkeypatch: pytest.MonkeyPatch
):
    def nobody(host: str, *_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    api = await make_api(egress_allow=["s3.invalid"])  # opens that name, and none below it
    sink = {**S3, "endpoint": "https://s3.invalid"}
    answer = await api.start({"api": "list", "parameters": {}, "sink": sink})
    assert answer.status_code == 400
    assert answer.json()["message"] == (
        "sink.endpoint: There is no host b-1.s3.invalid. "
        "With forcePathStyle the bucket is part of the path, and not of the host's name."
    )
    assert await api.run(sink={**sink, "forcePathStyle": True})


async def test_the_schedule_is_that_of_the_settings(make_api: MakeApi):
    api = await make_api(egress_allow=ALLOW, delivery_give_up_after="1h", delivery_timeout="5")
    schedule = present(api.input_of(await api.run(sink=WEBHOOK)).sink).schedule
    assert_has(schedule, first_delay=timedelta(seconds=1), factor=2, max_delay=timedelta(minutes=5))
    assert_has(schedule, timeout=timedelta(seconds=5), give_up_after=timedelta(hours=1))


# A project's own.


@pytest.fixture
async def ordered(make_project_api: MakeApi) -> StartRun:
    """Starts a Run of a project with this default sink; what it is ordered with."""

    async def start(default: dict[str, Any], environment: str = "deployed", **fields: Any) -> RunInput:
        settings = {"defaults": {"sink": default}}
        api = await make_project_api(settings, environment=environment, egress_allow=ALLOW)
        return api.input_of(await api.run(**fields))

    return start


DEPLOYED = {"deployed": {"type": "s3", "bucket": "b-2", "accessKeyId": "A", "secretAccessKey": SECRET}}
DEV = {"dev": {"type": "webhook", "url": f"{HOOK}?token={SECRET}"}}


@pytest.mark.parametrize(
    ("sinks", "environment", "kind"),
    [
        (DEV | DEPLOYED, "dev", "webhook"),
        (DEV | DEPLOYED, "deployed", "s3"),
        (DEPLOYED, "dev", "s3"),
        (DEPLOYED, "deployed", "s3"),
        (DEV, "deployed", None),
    ],
)
async def test_a_start_that_names_no_sink_has_its_project_s(
    ordered: StartRun, sinks: dict[str, Any], environment: str, kind: str | None
):
    run_input = await ordered(sinks, environment)
    assert (run_input.sink and run_input.sink.masked()["type"]) == kind
    assert SECRET not in run_input.model_dump_json()


async def test_a_start_s_own_sink_wins_and_null_is_none_of_its_own(ordered: StartRun):
    assert present((await ordered(DEPLOYED, sink=WEBHOOK)).sink).webhook is not None
    bucket = present(present((await ordered(DEPLOYED, sink=None)).sink).bucket)
    assert bucket.region == "us-east-1", "the region may be left out there"


async def test_a_project_s_sink_that_leads_within_is_refused_as_the_project_s(make_project_api: MakeApi):
    sink = {"deployed": {"type": "webhook", "url": "http://10.0.0.1/"}}
    answer = await (await make_project_api({"defaults": {"sink": sink}})).start()
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("The project's defaults.sink.url: 10.0.0.1 leads to")
