"""What somebody has to do by hand where Temporal does not let clients change a namespace, such as in Temporal Cloud."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from temporalio.client import Client
from temporalio.service import TLSConfig

from callboard.schemas.workflow import names
from callboard.temporal.durations import format_duration

_CLOUD_DOMAINS = (".tmprl.cloud", ".api.temporal.io")
"""Ends of the names of hosts of Temporal Cloud: endpoints of namespaces, and of regions."""
_UI = "https://cloud.temporal.io: Namespaces"
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Step:
    """One thing to do by hand."""

    what: str
    """A sentence without its end."""
    ways: tuple[str, ...]
    """Commands, and places in a Web UI; one of them is enough."""


def is_cloud(client: Client) -> bool:
    """Tell whether the client connects to Temporal Cloud, as the address or the name in its certificate tells."""
    config = client.service_client.config
    named = config.tls.domain if isinstance(config.tls, TLSConfig) else None
    hosts = (config.target_host.rpartition(":")[0], named or "")
    return any(host.endswith(_CLOUD_DOMAINS) for host in hosts)


def cloud_retention(retention: timedelta) -> timedelta:
    """Return the retention that Temporal Cloud can have for this one: whole days."""
    return math.ceil(retention / _DAY) * _DAY


def create_namespace(client: Client, retention: timedelta) -> Step:
    """Return how a namespace is made."""
    what = f"Make the namespace {client.namespace}, which keeps closed workflows for {format_duration(retention)}"
    if not is_cloud(client):
        hours = _hours(retention)
        return Step(what, (f"temporal operator namespace create --namespace {client.namespace} --retention {hours}",))
    return Step(what, (f"{_UI} > Create Namespace",))


def set_retention(client: Client, wanted: timedelta, current: timedelta) -> Step:
    """Return how the retention of a namespace is set."""
    kept = f"it keeps them for {format_duration(current)} now"
    days, rest = divmod(current, _DAY)
    option = _hours(current) if rest else f"{days}d"
    other = f"or leave it, and say so to Callboard: callboard setup-namespace --retention {option}"
    if not is_cloud(client):
        command = f"temporal operator namespace update --namespace {client.namespace} --retention {_hours(wanted)}"
        return Step(f"Let the namespace keep closed workflows for {format_duration(wanted)}; {kept}", (command, other))
    retention = cloud_retention(wanted)
    options = f"--namespace {client.namespace} --retention-days {retention // _DAY}"
    return Step(
        f"Let the namespace keep closed workflows for {format_duration(retention)}; {kept}",
        (
            f"tcld namespace retention set {options}",
            f"temporal cloud namespace retention set {options}",
            f"{_UI} > {client.namespace} > Edit > Retention Policy",
            other,
        ),
    )


def add_search_attributes(client: Client, missing: Sequence[str]) -> Step:
    """Return how search attributes are added."""
    types = names.SEARCH_ATTRIBUTES
    what = f"Add {len(missing)} search attributes: {', '.join(f'{name} ({types[name]})' for name in missing)}"
    if not is_cloud(client):
        named = " ".join(f"--name {name} --type {types[name]}" for name in missing)
        return Step(what, (f"temporal operator search-attribute create --namespace {client.namespace} {named}",))
    create = f"temporal cloud namespace search-attribute create --namespace {client.namespace}"
    pairs = " ".join(f'--search-attribute "{name}={types[name]}"' for name in missing)
    each = " ".join(f"{name}={types[name]}" for name in missing)
    return Step(
        what,
        (
            f"tcld namespace search-attributes add --namespace {client.namespace} {pairs}",
            f'for each in {each}; do {create} --name "${{each%=*}}" --type "${{each#*=}}"; done',
            f"{_UI} > {client.namespace} > Edit > Custom Search Attributes",
        ),
    )


def format_steps(steps: Sequence[Step]) -> list[str]:
    """Return the steps as numbered lines."""
    lines: list[str] = []
    for number, step in enumerate(steps, 1):
        lines.append(
            f"{number}. {step.what}. One of these does it:" if len(step.ways) > 1 else f"{number}. {step.what}:"
        )
        lines += [f"     {way}" for way in step.ways]
    return lines


def _hours(duration: timedelta) -> str:
    """Return the duration as Temporal's commands take it."""
    return f"{math.ceil(duration / timedelta(hours=1))}h"
