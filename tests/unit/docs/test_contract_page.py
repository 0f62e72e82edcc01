"""The tables of the contract's page name the fields, defaults and codes that the code has, no more and no less."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from fastapi.routing import APIRoute
from pydantic import BaseModel

from api import health
from api.attempts import routes as attempts
from api.auth_sessions import routes as auth_sessions
from api.deliveries import routes as deliveries
from api.jobs import results as job_run_results
from api.jobs import routes as jobs
from api.jobs import run_routes as job_runs
from api.projects import routes as projects
from api.runs import routes as runs
from projects.settings import ProjectSettings
from projects.settings_ignored import REPORTED_KEYS
from schemas.errors import Category
from schemas.rest import result
from schemas.rest.attempt import AttemptBody, UsageBody
from schemas.rest.auth_sessions import CreateAuthSession, ImportAuthSession, ValidateAuthSession
from schemas.rest.delivery import DeliveryBody, TryBody
from schemas.rest.error_body import ErrorBody
from schemas.rest.job_runs import JobRunBody, JobRunsQuery
from schemas.rest.job_schedule import Calendar, JobSchedule
from schemas.rest.jobs import CreateJob, JobAuthSession, JobBody, JobConfiguration, JobListItem, PayloadItem
from schemas.rest.projects import ProjectBody
from schemas.rest.result import ResultResponse
from schemas.rest.run_auth_session import StoredAuthSession
from schemas.rest.runs import RunBody, RunsQuery, RunSummaryBody
from schemas.rest.sink import S3Sink, WebhookSink
from schemas.rest.start import Retry, StartRequest
from schemas.workflow.attempt import AttemptKind, AttemptStatus
from schemas.workflow.auth import AuthSessionStatus, AuthSessionType
from schemas.workflow.job_run import JobRunReasonType
from schemas.workflow.run import ErrorCode, ReasonType, RunStatus, RunType
from tests.support.repository import REPOSITORY

PAGE = (REPOSITORY / "docs" / "contract.md").read_text()
FIELDS = re.compile(r"`([\w.-]+)`")

Table = list[list[str]]


def section(number: str) -> str:
    """A section's text, without its subsections."""
    found = re.search(rf"^#+ {re.escape(number)} .*?(?=^#|\Z)", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert found is not None, number
    return found.group()


def tables(number: str) -> list[Table]:
    """The tables of a section; of each, the cells of its rows below the head."""
    found = re.findall(r"(?:^\|.*\n)+", section(number) + "\n", flags=re.MULTILINE)
    return [[[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]] for table in found]


def names(table: Table) -> list[str]:
    """The names in the first column; a row may have several."""
    return [name for row in table for name in FIELDS.findall(row[0])]


def fields(model: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


def start_fields() -> set[str]:
    return fields(StartRequest) - {"retry"} | {f"retry.{name}" for name in fields(Retry)}


def sink_fields(model: type[BaseModel]) -> set[str]:
    return fields(model) - {"type", "skipOnFail", "apisToSend"}


@pytest.mark.parametrize(
    ("number", "index", "expected"),
    [
        ("5.1", 0, fields(ErrorBody)),
        ("6.1", 0, start_fields()),
        ("6.1", 1, fields(StoredAuthSession)),
        ("6.2", 0, fields(ResultResponse)),
        ("7.1", 0, fields(CreateAuthSession)),
        ("7.1", 1, fields(ValidateAuthSession)),
        ("7.1", 2, fields(ImportAuthSession)),
        ("7", 1, set(AuthSessionType)),
        ("7", 2, set(AuthSessionStatus)),
        ("8", 0, fields(ProjectBody)),
        ("11", 0, {"type", "skipOnFail", "apisToSend"}),
        ("11", 1, sink_fields(WebhookSink)),
        ("11", 2, sink_fields(S3Sink)),
        ("13.1", 0, fields(RunsQuery)),
        ("13.1", 1, fields(RunSummaryBody)),
        ("13.2", 0, fields(RunBody) - fields(RunSummaryBody)),
        ("13.4", 0, fields(AttemptBody)),
        ("13.5", 0, fields(DeliveryBody)),
        ("13.5", 1, fields(TryBody)),
        ("17.2", 0, fields(CreateJob)),
        ("17.2", 1, fields(PayloadItem)),
        ("17.2", 2, fields(JobConfiguration)),
        ("17.2", 3, fields(JobAuthSession)),
        ("17.3", 0, fields(JobSchedule)),
        ("17.3", 1, fields(Calendar)),
        ("17.4", 0, fields(JobListItem) & fields(JobBody) - fields(CreateJob)),
        ("17.4", 2, fields(JobRunBody)),
        ("17.4", 3, fields(JobRunsQuery)),
        ("17.6", 0, set(JobRunReasonType)),
    ],
)
def test_a_table_has_the_fields_of_its_model(number: str, index: int, expected: set[str]) -> None:
    told = names(tables(number)[index])
    assert len(told) == len(set(told))
    assert set(told) == expected


def requests() -> Iterator[tuple[str, int, type[BaseModel]]]:
    yield "6.1", 0, StartRequest
    yield "6.1", 1, StoredAuthSession
    yield "7.1", 0, CreateAuthSession
    yield "7.1", 1, ValidateAuthSession
    yield "7.1", 2, ImportAuthSession
    yield "11", 0, WebhookSink
    yield "11", 1, WebhookSink
    yield "11", 2, S3Sink
    yield "13.1", 0, RunsQuery
    yield "17.2", 0, CreateJob
    yield "17.2", 3, JobAuthSession
    yield "17.3", 0, JobSchedule
    yield "17.4", 3, JobRunsQuery


@pytest.mark.parametrize(("number", "index", "model"), list(requests()))
def test_a_table_tells_the_defaults_of_its_model(number: str, index: int, model: type[BaseModel]) -> None:
    by_alias = {field.alias or name: field for name, field in model.model_fields.items()}
    by_alias |= {f"retry.{field.alias or name}": field for name, field in Retry.model_fields.items()}
    for name, _, told, *_ in tables(number)[index]:
        field = by_alias[name.strip("`")]
        default: Any = None if field.is_required() else field.get_default(call_default_factory=True)
        if field.is_required():
            assert told == "required", name
        elif default is None or default == []:  # absent: a word for what that means
            assert told not in ("required", ""), name
        else:
            assert json.loads(told.strip("`")) == default, name


def settings_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        inner = field.annotation
        inner = next((each for each in get_args(inner) if isinstance(each, type)), inner)
        if isinstance(inner, type) and issubclass(inner, BaseModel) and inner.__module__ == ProjectSettings.__module__:
            yield from settings_keys(inner, f"{key}.")
        else:
            yield key


def test_the_settings_are_all_there() -> None:
    (table,) = tables("2.1")
    told = names([[row[0]] for row in table])
    sections_of_settings = {"proxy"}  # one line of `NAMED` is about the section as a whole
    silent = {"metadata", "version", "workspaceId"}
    assert set(told) == {*settings_keys(ProjectSettings), *REPORTED_KEYS, *silent} - sections_of_settings
    assert len(told) == len(set(told))


@pytest.mark.parametrize(
    ("index", "published", "given"),
    [
        (0, get_args(result.ErrorCode), {*ErrorCode, "unexpected"} - {ErrorCode.QUEUE_TIMEOUT}),
        (1, get_args(Category), set(get_args(Category)) - {"billing"}),
        (2, get_args(result.ReasonType), set(ReasonType)),
    ],
)
def test_the_codes_are_the_published_ones_and_those_that_are_given_are_marked(
    index: int, published: tuple[str, ...], given: set[str]
) -> None:
    table = tables("10.2")[index]
    assert sorted(names(table)) == sorted(published)
    assert {row[0].strip("`") for row in table if row[1] == "yes"} == given
    assert {row[1] for row in table} == {"yes", "no"}


def test_the_status_words_are_all_there() -> None:
    assert {row[1].strip("`") for row in tables("9")[0]} == set(RunStatus)
    assert set(FIELDS.findall(section("9").partition("An Attempt is")[2])) == set(AttemptStatus)
    assert set(FIELDS.findall(row_of("13.1", 0, "type")[1])) == set(RunType)
    assert set(FIELDS.findall(row_of("13.4", 0, "kind")[1])) == set(AttemptKind)
    assert set(FIELDS.findall(row_of("13.4", 0, "usage")[2])) == fields(UsageBody)


def row_of(number: str, index: int, name: str) -> list[str]:
    return next(row for row in tables(number)[index] if row[0] == f"`{name}`")


def test_every_route_stands_on_the_page() -> None:
    """By its last parts, since the page writes `…` for what all paths begin with."""
    modules = (attempts, auth_sessions, deliveries, jobs, job_run_results, projects, health)
    routers = (*runs.routers, *job_runs.routers, *(module.router for module in modules))
    paths = {route.path for router in routers for route in router.routes if isinstance(route, APIRoute)}
    assert len(paths) > 20
    own_names = {"{authSessionId}": "{id}", "{deliveryId}": "{id}"}
    for path in paths:
        tail = path.partition("/projects/{projectName}")[2] or path
        for name, told in own_names.items():
            tail = tail.replace(name, told)
        below_an_attempt = tail.partition("/attempts/{number}")[2]
        assert f"`{below_an_attempt}`" in PAGE if below_an_attempt else tail in PAGE, path
