"""Lists of the audit, for the REST API and the page alike."""

from __future__ import annotations

import json

from api.dependencies import Services
from api.http.cursors import decode_cursor, encode_cursor
from schemas.rest.audit import AuditList, AuditQuery
from schemas.rest.field_errors import field_error
from storage.audit_log import AuditFilter, AuditLog


async def list_entries(services: Services, query: AuditQuery) -> AuditList:
    """Return a page of the audit.

    Raises:
        BadRequest: The cursor does not belong to this list.
        StoreError: The store cannot be read.
    """
    wanted = AuditFilter(
        actors=frozenset(query.actor),
        actions=frozenset(query.action),
        projects=frozenset(query.project),
        since=query.since,
        until=query.until,
    )
    list_id = f"audit {_list_id(query)}"
    after = None if query.cursor is None else decode_cursor(query.cursor, list_id).decode("utf-8", "replace")
    try:
        page = await AuditLog(services.store).list_page(wanted, limit=query.limit, after=after)
    except ValueError as error:
        raise field_error("cursor", "the nextCursor of a page of this list, with the same filters") from error
    next_cursor = None if page.next_place is None else encode_cursor(page.next_place.encode(), list_id)
    return AuditList(entries=page.entries, next_cursor=next_cursor)


def _list_id(query: AuditQuery) -> str:
    """Return a text that is equal for two queries that ask for the same list."""
    values = [sorted(set(each)) for each in (query.actor, query.action, query.project)]
    return json.dumps([values, [when and when.timestamp() for when in (query.since, query.until)]])
