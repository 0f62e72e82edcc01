"""The word of an Attempt that is on a Machine, and has been for a moment: to those who wait for it, and on record."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.beside import beside
from activities.progress import Progress
from activities.records import Records
from contract.flow import names
from contract.flow.attempt import AttemptInput, AttemptKind, AttemptStarted, AttemptStatus
from contract.flow.base import FlowModel

log = logging.getLogger(__name__)

ANNOUNCE_AFTER = 0.5
"""Seconds. An Attempt that is over sooner says nothing of its start: that would cost its Run a workflow task."""
_RECORD_PATIENCE = timedelta(seconds=5)


@dataclass(frozen=True)
class Word:
    """A signal to a Run."""

    run_id: str
    signal: str
    says: Callable[[AttemptStarted], FlowModel | int]
    execution: str | None = None
    """Temporal's own id of the Run, where that is known."""


def words_of(order: AttemptInput, words: Sequence[Word] | None = None) -> Sequence[Word]:
    """What is said of an Attempt: `words`, else to its Run; of a check also to the Run that waits for its Validate."""
    if words is not None:
        return words
    words = [Word(order.run_id, names.ATTEMPT_STARTED, lambda started: started, activity.info().workflow_run_id)]
    if order.parent_run_id is not None and order.kind is AttemptKind.CHECK:
        words.append(Word(order.parent_run_id, names.VALIDATE_STARTED, lambda started: started.number))
    return words


class Announcements:
    """Made by the activities of Attempts."""

    def __init__(self, client: Client, records: Records) -> None:
        self._client = client
        self._records = records

    @asynccontextmanager
    async def of(self, project: str, progress: Progress, words: Sequence[Word]) -> AsyncGenerator[None]:
        """Tell it, if the block lasts for a moment; and write it down."""

        async def announce() -> None:
            await asyncio.sleep(ANNOUNCE_AFTER)
            started = progress.started()
            for word in words:
                await self._tell(word, started)
            record = progress.record(AttemptStatus.STARTED)
            await self._records.write_first(project, record, within=_RECORD_PATIENCE)

        async with beside(announce(), "announcement"):
            yield

    async def _tell(self, word: Word, started: AttemptStarted) -> None:
        handle = self._client.get_workflow_handle(word.run_id, run_id=word.execution)
        try:
            await handle.signal(word.signal, word.says(started))
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:  # the Run may be over
                log.warning("Run %s: its start could not be told: %s", word.run_id, error.message)
