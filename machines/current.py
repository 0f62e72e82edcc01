"""The running Attempt of a Machine, as the worker sees it: its clock, its beginning, its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from machines.attempt_masker import masker_for
from machines.attempt_spec import AttemptReport, AttemptSpec
from machines.services import Answering
from schemas.workflow.attempt import AttemptKind, AttemptStatus

log = logging.getLogger(__name__)

HARD_LIMIT = timedelta(hours=12)
"""Longest time after the Attempt's start to which `extend_timeout` can move its end."""

_NOTE_EXTENSIONS_EVERY = 1.0
"""Least seconds between two log lines about extensions, as user code may extend with every step that it takes."""


@dataclass(frozen=True)
class AttemptStart:
    """The beginning of an Attempt: its user code is about to be called."""

    machine: str
    browser_version: str
    at: datetime


class Current:
    """The running Attempt of a Machine, as the worker sees it."""

    def __init__(
        self, spec: AttemptSpec, on_start: Callable[[AttemptStart], None], answering: Answering | None
    ) -> None:
        self._spec = spec
        self._on_start = on_start
        self._loop = asyncio.get_running_loop()
        self._started_at = datetime.now(UTC)
        self._hard_end = self._loop.time() + HARD_LIMIT.total_seconds()
        self._noted_extension = -_NOTE_EXTENSIONS_EVERY
        self.answering = answering
        self._ended_at: datetime | None = None
        self.begun: AttemptStart | None = None
        self.clock: asyncio.Timeout | None = None
        """The running clock of the Attempt; None once it no longer matters."""
        self.done: asyncio.Future[dict[str, Any] | None] = self._loop.create_future()
        self.waiting_at = ""
        """The automation's stack when it was told to stop; empty if it is not known."""
        self.stopped = asyncio.Event()
        self.left = asyncio.Event()
        """Event that is set once the child has said what the Attempt leaves, or the child is gone."""

    def message(self) -> dict[str, Any]:
        """Return the message that orders the Attempt from the child."""
        spec, proxy = self._spec, self._spec.proxy
        return {
            "type": "attempt",
            "number": spec.number,
            "kind": spec.kind,
            "function": spec.function,
            "parameters": "null" if spec.kind is AttemptKind.CHECK else spec.parameters,
            "session": spec.storage_state,
            "capture": spec.capture,
            "proxy": proxy
            and {
                "server": proxy.server,
                **({"username": proxy.username} if proxy.username is not None else {}),
                **({"password": proxy.password} if proxy.password is not None else {}),
            },
            "runInfo": spec.run_info,
            "evidence": spec.evidence and spec.evidence.to_message(),
            "log": spec.log and str(spec.log.file),
            "logLimit": spec.log.limit if spec.log else 0,
        }

    def begin(self, begun: AttemptStart, *, root: str) -> None:
        """Take note that user code is about to be called, in the copy of the project at `root`."""
        self.begun = begun
        if self._spec.evidence is not None:
            self._spec.evidence.project_root = root
        self._on_start(begun)

    def extend(self) -> None:
        """Restart the clock at its full length."""
        if self.clock is not None and not self.clock.expired():
            now = self._loop.time()
            self.clock.reschedule(min(now + self._spec.timeout.total_seconds(), self._hard_end))
            if now - self._noted_extension > _NOTE_EXTENSIONS_EVERY:
                self._noted_extension = now
                seconds = f"{self._spec.timeout.total_seconds():g}"
                self._spec.note(f"extend_timeout: the clock of {seconds} seconds begins anew")

    def prolong(self, by: float) -> None:
        """Put the end off by `by` seconds, for time that the Machine needs and not the automation."""
        if self.clock is not None and not self.clock.expired() and (end := self.clock.when()) is not None:
            self.clock.reschedule(end + by)

    def leave(self, message: dict[str, Any] | None) -> None:
        """Take note of what the Attempt has left, or (None) that its Machine has come to its end."""
        if message is not None and self._spec.evidence is not None:
            self._spec.evidence.record_report(message)
        self.left.set()

    @property
    def heard(self) -> bool:
        """Whether the end of the Attempt was heard.

        A cancel of the task that waits for `done` cancels `done`, and does not count as an end.
        """
        return self.done.done() and not self.done.cancelled()

    def resolve(self, message: dict[str, Any] | None) -> None:
        """Take note that the Attempt is done, or (None) lost. Only the first call counts."""
        if not self.done.done():
            self._ended_at = datetime.now(UTC)
            self.done.set_result(message)

    def report(self, machine: str, **fields: Any) -> AttemptReport:
        """Return the report of the Attempt; `fields` are further fields of `AttemptReport`."""
        return AttemptReport(
            status=AttemptStatus.COMPLETED if "result" in fields else AttemptStatus.FAILED,
            machine=machine,
            browser_version=self.begun.browser_version if self.begun else None,
            started_at=self.begun.at if self.begun else self._started_at,
            ended_at=self._ended_at or datetime.now(UTC),
            **fields,
        )

    def warn_uncaptured(self, reason: str) -> None:
        """Log why the state of the Attempt's AuthSession could not be captured, masked."""
        told = masker_for(self._spec).mask_text(reason)
        log.warning("Run %s: the state of its AuthSession could not be captured: %s", self._spec.run_id, told)

    def completed(self, machine: str, done: dict[str, Any]) -> AttemptReport:
        """Return the report of an Attempt that completed, from the child's `done` message."""
        return self.report(
            machine,
            result=done["result"],
            extended_payloads=done["extendedPayloads"],
            storage_state=done["session"],
            attributes=done["attributes"],
        )
