"""Let the steps of a workflow go on when its cancel is requested, and give up what is not needed any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ChildWorkflowError
from temporalio.workflow import ActivityHandle, ChildWorkflowHandle

from callboard.schemas.workflow.run import RunOutcome
from workflows import outcomes


async def finish[T](steps: Coroutine[Any, Any, T], on_cancel: Callable[[], None]) -> T:
    """Await all steps of a workflow. A cancel request is told to `on_cancel`, and interrupts none of them.

    A cancel can come at any point; an activity or a signal that is awaited would swallow it.
    """
    running = asyncio.ensure_future(steps)
    while not running.done():
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            on_cancel()
    return running.result()


async def end_of[T](handle: ActivityHandle[T] | ChildWorkflowHandle[Any, T], is_given_up: Callable[[], bool]) -> T:
    """Await an activity or a child workflow to its end; cancel it as soon as it is given up.

    Raises:
        ActivityError, ChildWorkflowError: It has not completed.
    """
    await workflow.wait_condition(lambda: handle.done() or is_given_up())
    if not handle.done():
        handle.cancel()
    return await handle


async def outcome_of_child(handle: ChildWorkflowHandle[Any, RunOutcome], is_given_up: Callable[[], bool]) -> RunOutcome:
    """Return how a Validate or Create ends; cancel it as soon as it is given up."""
    try:
        return await end_of(handle, is_given_up)
    except ChildWorkflowError as error:
        return outcomes.from_child_error(error)
