"""The settings of a project, as models (docs/contract.md, section 2.1), which `callboard.projects.settings_file` reads.

Types are strict, since a setting that is guessed is worse than one that is refused: `"3"` and `true` are not numbers.
`null` is the same as an absent key. Keys that are not known here are ignored; `callboard.projects.settings_ignored`
tells which of them the author should hear about.

Proxies, sinks and alerts hold passwords and keys. They are stored unsealed, like the settings file itself, below
`projects/`, which has credentials of its own. Nothing prints them, and a Run that uses them seals them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal, Self, cast
from uuid import UUID

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictStr,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from callboard.schemas.machine_sizes import MEMORY_OF_SIZE
from callboard.schemas.rest.proxy import ProxyUrl
from callboard.schemas.rest.sink import HttpUrl, ProjectS3Sink, ProjectSink, Webhook, WebhookSink
from callboard.schemas.rest.start_request import BackoffCoefficient, RetryInterval
from callboard.schemas.rest.start_url import StartUrl
from callboard.schemas.workflow.alert import MOST_COUNTED, AlertRule
from callboard.schemas.workflow.auth import AuthSessionType
from callboard.schemas.workflow.auth_session import AuthSessionView
from callboard.security.signing import WEBHOOK_SECRET, read_secret

Environment = Literal["dev", "deployed"]
"""Where a project runs: `dev` is its author's machine, `deployed` is production."""

PLATFORM_PROXY = "intuned://auto"
"""Value for a proxy of the platform that the contract comes from. Callboard has no such proxy, so it counts as none."""

MAX_MACHINES = 1000
"""Most Machines of one project. This is far above what a host can carry, and low enough to catch a typing error."""

MAX_ALERTS = 20
"""Most alerts of one project."""

MAX_QUEUED = 1_000_000
"""Most Runs of `replication.maxQueued`: more than Temporal's lists can usefully hold."""

NAME_RULE = (
    'lower-case letters and digits, in groups joined by single "-" or "_", 200 characters at most, and not a UUID'
)

_HARD_LIMIT = 43_200
"""Seconds that an Attempt takes at most."""

_LONGEST_WINDOW = 604_800
"""Seconds in which failures are counted at most: a week."""

_TIME = re.compile(r"(\d{1,6}) *([smh])")
_NAME = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*")


def is_project_name(name: str) -> bool:
    """Tell whether a project may have this name (docs/contract.md, section 2)."""
    if len(name) > 200 or not _NAME.fullmatch(name):
        return False
    try:
        UUID(name)
    except ValueError:
        return True
    return False


def _whole_number(low: int, high: int) -> BeforeValidator:
    def check(value: object) -> int:
        # JSON has one kind of number, so 2.0 is a whole one. In Python True is an int, too, but nobody means it as one.
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise PydanticCustomError("setting", "{expected}", {"expected": f"a whole number from {low} to {high}"})

    return BeforeValidator(check)


def _check_name(value: object) -> object:
    if isinstance(value, str) and not is_project_name(value):
        raise PydanticCustomError("setting", "{expected}", {"expected": f"a project name ({NAME_RULE})"})
    return value


def _no_platform_proxy(value: object) -> object:
    return None if value == PLATFORM_PROXY else value


def _check_names_of_parameters(value: object) -> object:
    if isinstance(value, list | tuple):
        names = cast("Sequence[object]", value)
        if all(isinstance(name, str) and name for name in names):
            return names
    raise PydanticCustomError("setting", "{expected}", {"expected": "a list of names of parameters"})


_Proxy = Annotated[ProxyUrl | None, BeforeValidator(_no_platform_proxy)]


def _one_spelling(value: object) -> object:
    return "x-large" if value == "xlarge" else value


def _check_alerts(value: object) -> object:
    if isinstance(value, list | tuple) and len(cast("Sequence[object]", value)) <= MAX_ALERTS:
        return cast("Sequence[object]", value)
    raise PydanticCustomError("setting", "{expected}", {"expected": f"an array of at most {MAX_ALERTS} alerts"})


def _check_rate(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1:
        return float(value)
    raise PydanticCustomError("setting", "{expected}", {"expected": "a number above 0, up to 1, such as 0.9"})


def _check_webhook_secret(value: object) -> object:
    try:
        read_secret(value if isinstance(value, str) else "")
    except ValueError:
        raise PydanticCustomError("setting", "{expected}", {"expected": WEBHOOK_SECRET}) from None
    return value


class Section(BaseModel):
    """An object in the settings. It is frozen, has camelCase keys in files, and ignores unknown keys."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: item for key, item in value.items() if item is not None}  # pyright: ignore[reportUnknownVariableType]
        return value


class Replication(Section):
    """The number of Machines that the project has, and the size of each."""

    max_concurrent_requests: Annotated[int, _whole_number(1, MAX_MACHINES)] | None = None
    max_count: Annotated[int, _whole_number(1, MAX_MACHINES)] | None = None
    """The older name of `maxConcurrentRequests`, which takes precedence."""
    min_count: Annotated[int, _whole_number(0, MAX_MACHINES)] | None = None
    """A setting of older projects without effect: Machines are always started on demand."""
    max_queued: Annotated[int, _whole_number(1, MAX_QUEUED)] | None = None
    """How many Runs may wait for a Machine; a start beyond them is refused. None for no limit."""
    size: Annotated[Literal["standard", "large", "x-large"], BeforeValidator(_one_spelling)] = "standard"


class ApiAccess(Section):
    """The settings that tell whether Runs may be started over REST, and whether their parameters are checked first."""

    enabled: StrictBool = True
    validate_parameters: StrictBool = False
    """Whether a start is refused whose parameters are not what the API's schema says."""


class AuthSessions(Section):
    """The settings that say whether every Run needs an AuthSession, and where its login comes from.

    It comes from credentials, or from a recorder.
    """

    enabled: StrictBool = False
    type: Literal["API", "MANUAL"] | None = None
    start_url: StartUrl | None = None
    """Where people begin to log in, unless a record says otherwise."""
    save_back: StrictBool = True
    """Whether to keep the cookies and storage that the site changed while a successful Attempt ran."""
    indexed_db: StrictBool = False
    """Whether a login keeps IndexedDB besides cookies and storage."""
    secret_parameters: Annotated[tuple[StrictStr, ...], BeforeValidator(_check_names_of_parameters)] = ()
    """Names of parameters that are secrets, in addition to those whose names show it."""

    @model_validator(mode="after")
    def _type_is_given(self) -> Self:
        if self.enabled and self.type is None:
            raise PydanticCustomError(
                "setting",
                "{expected}",
                {"expected": '"API" or "MANUAL", as authSessions.enabled is true', "of": "type"},
            )
        return self

    def can_recreate(self, view: AuthSessionView) -> bool:
        """Tell whether a login that has expired can be made again.

        One that was recorded can, by a person who is asked for it, for as long as people make the logins.
        """
        return view.type is not AuthSessionType.RECORDER or (self.type == "MANUAL" and view.start_url is not None)


class Files(Section):
    """The settings that say which files of an Attempt are kept, besides those that user code leaves below `output/`."""

    downloads: StrictBool = True
    """Whether what pages download is kept."""


def _time_up_to(limit: int) -> BeforeValidator:
    def check(value: object) -> float:
        seconds: object = value
        if isinstance(value, str) and (found := _TIME.fullmatch(value)):
            seconds = int(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]
        if isinstance(seconds, int | float) and not isinstance(seconds, bool) and 1 <= seconds <= limit:
            return float(seconds)
        expected = f'seconds from 1 to {limit}, or such a time with its unit: "90s", "5m" or "1h"'
        raise PydanticCustomError("setting", "{expected}", {"expected": expected})

    return BeforeValidator(check)


class Handoffs(Section):
    """The settings of questions with which Attempts wait for a person: what bounds them, and what is told of them."""

    max_timeout: Annotated[float, _time_up_to(_HARD_LIMIT)] = 900
    """Seconds that a question waits at most."""
    max_open: Annotated[int, _whole_number(1, MAX_MACHINES)] | None = None
    """How many may be open at the same time. None: the Machines less one, and at least one."""
    webhook: Webhook | None = None
    """What is told of each, with a link by which it can be answered."""

    @property
    def longest(self) -> timedelta:
        """How long a question waits at most."""
        return timedelta(seconds=self.max_timeout)


class AlertSetting(Section):
    """Who is told when too many Runs fail: `failures` of them `within` a time, or more than `success_rate` allows."""

    model_config = ConfigDict(extra="forbid")

    failures: Annotated[int, _whole_number(1, MOST_COUNTED)] | None = None
    within: Annotated[float, _time_up_to(_LONGEST_WINDOW)] | None = None
    """Seconds."""
    success_rate: Annotated[float, BeforeValidator(_check_rate)] | None = None
    """The smallest part of Runs that complete."""
    of: Annotated[int, _whole_number(1, MOST_COUNTED)] | None = None
    """Of how many of the last Runs."""
    url: HttpUrl = Field(repr=False)
    secret: Annotated[str, BeforeValidator(_check_webhook_secret)] | None = Field(default=None, repr=False)
    """What is sent is signed with it; None for the secrets of the installation."""

    @model_validator(mode="after")
    def _is_one_rule(self) -> Self:
        given = {name for name in ("failures", "within", "success_rate", "of") if getattr(self, name) is not None}
        if given in ({"failures", "within"}, {"success_rate", "of"}):
            return self
        expected = "either failures and within, or successRate and of"
        raise PydanticCustomError("setting", "{expected}", {"expected": expected})

    @property
    def rule(self) -> AlertRule:
        """The rule, without who is told."""
        within = None if self.within is None else timedelta(seconds=self.within)
        return AlertRule(failures=self.failures, within=within, success_rate=self.success_rate, of=self.of)


class BrowserSize(Section):
    """Size of the page in CSS pixels."""

    width: Annotated[int, _whole_number(200, 3840)] = 1024
    height: Annotated[int, _whole_number(200, 2160)] = 800


class Proxies(Section):
    """The proxy of every Attempt, by where the project runs."""

    enabled: StrictBool = True
    """Whether the proxies are used. Older projects set only this key, to false."""
    dev: _Proxy = Field(default=None, repr=False)
    deployed: _Proxy = Field(default=None, repr=False)


class DefaultRetry(Section):
    """Values for a start request that leaves them out of its `retry`."""

    maximum_attempts: Annotated[int, _whole_number(1, 100)] | None = None
    initial_interval: RetryInterval | None = None
    backoff_coefficient: BackoffCoefficient | None = None
    maximum_interval: RetryInterval | None = None


class DefaultSinks(Section):
    """The `sink` of a start request that has none, by where the project runs."""

    dev: ProjectSink | None = None
    deployed: ProjectSink | None = None


class DefaultAuthSession(Section):
    """Values for a start request with a stored AuthSession that leaves them out of its `authSession`."""

    lease: Literal["exclusive"] | None = None


class Defaults(Section):
    """The fields that a start request has if it leaves them out."""

    proxy: _Proxy = Field(default=None, repr=False)
    retry: DefaultRetry = Field(default_factory=DefaultRetry)
    request_timeout: Annotated[int, _whole_number(1, 43_200)] | None = None
    """Seconds that an Attempt may take, unless a start request sets it."""
    queue_timeout: Annotated[int, _whole_number(1, 604_800)] | None = None
    """Seconds that a Run may wait for a Machine, unless a start request sets it."""
    auth_session: DefaultAuthSession = Field(default_factory=DefaultAuthSession)
    sink: DefaultSinks | None = None


class ProjectSettings(Section):
    """All settings of a project that Callboard acts on."""

    project_name: Annotated[StrictStr, BeforeValidator(_check_name)] | None = None
    replication: Replication = Field(default_factory=Replication)
    api_access: ApiAccess = Field(default_factory=ApiAccess)
    auth_sessions: AuthSessions = Field(default_factory=AuthSessions)
    headful: StrictBool = False
    allow_file_urls: StrictBool = False
    """Whether the project's APIs may open any address, including that of a file on the worker."""
    browser_size: BrowserSize = Field(default_factory=BrowserSize)
    files: Files = Field(default_factory=Files)
    handoffs: Handoffs = Field(default_factory=Handoffs)
    alerts: Annotated[tuple[AlertSetting, ...], BeforeValidator(_check_alerts)] = ()
    """Who is told when Runs fail."""
    proxy: Proxies = Field(default_factory=Proxies)
    defaults: Defaults = Field(default_factory=Defaults)

    def proxy_in(self, environment: Environment) -> str | None:
        """Return the proxy of a Run whose start request names none."""
        if self.defaults.proxy is not None or not self.proxy.enabled:
            return self.defaults.proxy
        return self.proxy.dev if environment == "dev" else self.proxy.deployed

    def sink_in(self, environment: Environment) -> WebhookSink | ProjectS3Sink | None:
        """Return the sink of a Run whose start request names none."""
        sinks = self.defaults.sink
        if sinks is None:
            return None
        return (sinks.dev or sinks.deployed) if environment == "dev" else sinks.deployed

    @property
    def machines(self) -> int:
        """The number of Attempts that may be executed at the same time."""
        return self.replication.max_concurrent_requests or self.replication.max_count or 1

    @property
    def most_open_handoffs(self) -> int:
        """The number of questions with which Attempts may wait for a person at the same time."""
        return self.handoffs.max_open or max(1, self.machines - 1)

    @property
    def memory_limit(self) -> int:
        """Bytes of memory that one Machine may use."""
        return MEMORY_OF_SIZE[self.replication.size]
