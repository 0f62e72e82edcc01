"""The results of JobRuns: links to them, and the call that the links lead to, which needs no key.

They are artifacts with a line of JSON for each Run, which are called shards.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from api.dependencies import Services, ServicesDep
from api.http.errors import error_responses
from api.jobs.lines import NDJSON
from schemas.errors import NotFound
from schemas.rest.job_runs import JobRunResults
from security.signed_links import ResultsRef, read_link, sign_link
from storage import keys
from storage.store import Store
from temporal.job_run_listing import JobRunState

PATH = "/job-run-results"

router = APIRouter(tags=["JobRuns"])


@router.get(
    PATH,
    operation_id="getLinkedJobRunResults",
    summary="Read the results that a link leads to",
    response_class=StreamingResponse,
    responses={
        200: {"content": {NDJSON: {}}, "description": "The results, a line for each Run"},
        **error_responses(NotFound),
    },
)
async def linked_results(services: ServicesDep, link: Annotated[str, Query(max_length=4000)]) -> Response:
    """Get the results of a JobRun by the link that `results.signed_url` holds. No API key is needed."""
    results = read_link(link, ResultsRef, services.ring)
    if results is None or results.workspace != services.settings.workspace:
        raise NotFound("This link has expired. Get the JobRun again for another one.")
    return await results_response(services.store, results.project, results.job_run_id, results.shards)


def results_link(request: Request, services: Services, state: JobRunState) -> JobRunResults | None:
    """Return the link to the results of a JobRun; None before its end, and without a key to seal a link with."""
    if state.ended_at is None or not services.settings.secret_key:
        return None
    results = ResultsRef(state.workspace, state.project, state.id, state.progress.shards)
    link, expires = sign_link(results, services.ring)
    # The link is in the query, which the log of requests does not show.
    url = f"{str(request.base_url).rstrip('/')}{PATH}?link={quote(link, safe='')}"
    return JobRunResults(signed_url=url, signed_url_expiration=expires)


async def results_response(store: Store, project: str, job_run_id: str, shards: int) -> Response:
    """Return the response that streams the results of a JobRun. Raises NotFound or StoreError."""
    found = await _find_shards(store, project, job_run_id, shards)
    headers = {"cache-control": "no-store"}
    return StreamingResponse(_stream_shards(store, found), media_type=NDJSON, headers=headers)


async def _find_shards(store: Store, project: str, job_run_id: str, count: int) -> list[str]:
    """Return the keys of the first `count` shards. Of a shard that was written several times, the last try counts.

    Raises:
        NotFound: One of them is not in the store any more.
        StoreError: The store failed.
    """
    last_tries: dict[int, str] = {}
    async for key in store.list(keys.job_run_results(project, job_run_id)):
        shard = int(key.rpartition("/")[2].partition("-")[0])
        if shard < count:
            last_tries[shard] = key  # Keys come in ascending order.
    if len(last_tries) < count:
        raise NotFound(f"The results of JobRun {job_run_id} are not kept any more.")
    return [last_tries[shard] for shard in range(count)]


async def _stream_shards(store: Store, shards: list[str]) -> AsyncIterator[bytes]:
    """Yield the shards with these keys.

    Raises:
        NotFound: One of them is not in the store any more.
        StoreError: The store failed.
    """
    for key in shards:
        data = await store.get(key)
        if data is None:
            raise NotFound(f"A part of the results is missing in the artifact store: {key}.")
        yield data
