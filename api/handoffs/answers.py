"""Checking and sealing what a person answers, before it goes to the Run."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping

from api.dependencies import Services
from callboard.schemas.errors import NotFound
from callboard.schemas.rest.field_errors import errors_at
from callboard.schemas.rest.handoffs import CompleteHandoff, DeclineHandoff
from callboard.schemas.rest.json_text import validate_body
from callboard.schemas.workflow import names
from callboard.schemas.workflow.base import clip
from callboard.schemas.workflow.handoff import Handoff, HandoffEnd, HandoffStatus
from callboard.security import seal_context
from callboard.security.pattern_match import matches
from callboard.temporal.handoffs import not_open

ByForm = Callable[[Services, str, str, str, Mapping[str, str]], Awaitable[Handoff]]
"""Answers a Handoff by a form: `complete_by_form`, or `decline_by_form`."""


async def complete(
    services: Services, project: str, run_id: str, handoff_id: str, values: Mapping[str, str]
) -> Handoff:
    """Give the Attempt that asks the values of a person, sealed for it, and return the Handoff, which has ended.

    Raises:
        BadRequest: They are not what was asked for.
        NotFound, Conflict: There is no such Handoff of this Run, or it is not open.
        ConfigurationError: They cannot be sealed, as there is no key.
        Unavailable: Temporal, or a worker, does not answer, or this host is too busy.
    """
    handoff = await require_open(services, project, run_id, handoff_id)
    asked = {field.name for field in handoff.fields}
    wrong: list[tuple[tuple[str, ...], str]] = []
    if values.keys() - asked:
        alone = f"values for {', '.join(sorted(asked))} alone" if asked else "no values, as none is asked for"
        wrong.append((("values",), alone))
    for field in handoff.fields:
        if field.name not in values:
            wrong.append((("values", field.name), "a text, which was asked for"))
        elif field.pattern is not None and not await matches(field.pattern, values[field.name]):
            wrong.append((("values", field.name), f"a text that matches {field.pattern}"))
    if wrong:
        raise errors_at(wrong)
    sealed = None
    if asked:
        bound_to = seal_context.handoff(services.settings.workspace, project, handoff.id)
        sealed = services.ring.seal(json.dumps(values), bound_to=bound_to)
    return await _end(services, handoff, HandoffEnd(status=HandoffStatus.COMPLETED, values=sealed))


async def decline(services: Services, project: str, run_id: str, handoff_id: str, reason: str | None) -> Handoff:
    """Tell the Attempt that asks that it gets no answer. Returns and raises as `complete` does."""
    handoff = await require_open(services, project, run_id, handoff_id)
    return await _end(services, handoff, HandoffEnd(status=HandoffStatus.DECLINED, reason=reason or None))


async def complete_by_form(
    services: Services, project: str, run_id: str, handoff_id: str, form: Mapping[str, str]
) -> Handoff:
    """Do as `complete` does, with the values of a form."""
    values = {name.removeprefix("value-"): value for name, value in form.items() if name.startswith("value-")}
    checked = validate_body(CompleteHandoff, {"values": values}).values
    return await complete(services, project, run_id, handoff_id, checked)


async def decline_by_form(
    services: Services, project: str, run_id: str, handoff_id: str, form: Mapping[str, str]
) -> Handoff:
    """Do as `decline` does, with the reason of a form."""
    reason = validate_body(DeclineHandoff, {"reason": form.get("reason", "").strip() or None}).reason
    return await decline(services, project, run_id, handoff_id, reason)


async def require_open(services: Services, project: str, run_id: str, handoff_id: str) -> Handoff:
    """Return an open Handoff of this Run, or of the check or Create that it waits for.

    Raises:
        NotFound, Conflict: There is no such Handoff of this Run, or it is not open.
        Unavailable: Temporal does not answer.
    """
    handoff = await _find(services, project, run_id, handoff_id)
    asking = names.run_of_handoff(handoff_id)
    if handoff is None and asking != run_id:  # it may be of one that the Run has waited for
        handoff = await _find(services, project, asking, handoff_id)
        if handoff is not None and handoff.is_open:
            handoff = None
    if handoff is None:
        raise NotFound(f"Run {clip(run_id, 100)} has no Handoff {clip(handoff_id, 100)!r}.")
    if not handoff.is_open:
        raise not_open(handoff_id)
    return handoff


async def _find(services: Services, project: str, run_id: str, handoff_id: str) -> Handoff | None:
    shown = await services.runs.list_handoffs(services.settings.workspace, project, run_id)
    return next((each for each in shown if each.id == handoff_id), None)


async def _end(services: Services, handoff: Handoff, end: HandoffEnd) -> Handoff:
    await services.handoffs.answer(handoff.id, end)
    return handoff.model_copy(update={"status": end.status})
