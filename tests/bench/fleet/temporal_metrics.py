"""What the dev server tells of itself: requests, polls that wait at it, and actions as Temporal counts them."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from dataclasses import dataclass

import httpx
import psutil

_SAMPLE = re.compile(r"^(?P<name>\w+)\{(?P<labels>[^}]*)\} (?P<value>\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Reading:
    """What the server's frontend has counted from its start until now."""

    requests: Counter[str]
    """Requests by operation."""
    actions: Counter[str]
    """Actions in the namespace by type, for which Temporal Cloud would charge."""
    refused: int
    """Requests that were refused as there were too many."""
    waiting: Counter[str]
    """Requests that wait for their answer now, such as polls, by operation."""

    @property
    def polls(self) -> int:
        """How many polls of workers for activities wait: the others are few, and do not grow with projects."""
        return self.waiting["PollActivityTaskQueue"]


class TemporalMetrics:
    """The metrics of one dev server, at the port that it chose for them."""

    def __init__(self, server: psutil.Process, url: str) -> None:
        self.server = server
        self._url = url

    @classmethod
    async def of(cls, port: int) -> TemporalMetrics:
        """Find the server that listens at this port and is a child of this process, and its metrics."""
        for child in psutil.Process().children(recursive=True):
            ports = {c.laddr.port for c in child.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
            if port not in ports:
                continue
            for url in (f"http://127.0.0.1:{other}/metrics" for other in sorted(ports - {port})):
                if await _has_metrics(url):
                    return cls(child, url)
        raise RuntimeError(f"no server with metrics listens at port {port}")

    async def read(self) -> Reading:
        """Return what the server tells now."""
        async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
            text = (await http.get(self._url)).text
        return await asyncio.to_thread(_parse, text)


async def _has_metrics(url: str) -> bool:
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=2) as http:
            return "service_requests" in (await http.get(url)).text
    except httpx.HTTPError:  # the port is for something else
        return False


def _parse(text: str) -> Reading:
    counters = {
        "service_requests": (Counter[str](), "operation"),
        "service_pending_requests": (Counter[str](), "operation"),
        "service_errors_resource_exhausted": (Counter[str](), "operation"),
        "action": (Counter[str](), "action_type"),
    }
    for sample in _SAMPLE.finditer(text):
        labels = dict(_LABEL.findall(sample["labels"]))
        if sample["name"] in counters and labels.get("service_name") == "frontend":
            counter, label = counters[sample["name"]]
            if labels.get("namespace") != "temporal_system":
                counter[labels[label]] += int(float(sample["value"]))
    requests, waiting, refused, actions = (counter for counter, _ in counters.values())
    return Reading(requests, actions, refused.total(), waiting)
