"""The results of JobRuns: links to them, and the call that the links lead to, which needs no key."""

from __future__ import annotations

from typing import Annotated, cast
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from api.dependencies import Services, ServicesDep
from api.http.errors import error_responses
from api.jobs.lines import NDJSON
from jobs.results import find_shards, stream_shards
from schemas.errors import NotFound
from schemas.rest.job_runs import JobRunResults
from security.signed_results_urls import ResultsRef, SignedResultsUrls
from storage.store import Store
from temporal.job_run_listing import JobRunState

PATH = "/job-run-results"

router = APIRouter(tags=["JobRuns"])


@router.get(
    PATH,
    summary="Read the results that a link leads to",
    response_class=StreamingResponse,
    responses={
        200: {"content": {NDJSON: {}}, "description": "The results, a line for each Run"},
        **error_responses(NotFound),
    },
)
async def linked_results(
    request: Request, services: ServicesDep, link: Annotated[str, Query(max_length=4000)]
) -> Response:
    """Get the results of a JobRun by the link that `results.signed_url` holds. No API key is needed."""
    results = _signed_urls(request).verify(link)
    if results is None or results.workspace != services.settings.workspace:
        raise NotFound("This link has expired. Get the JobRun again for another one.")
    return await results_response(services.store, results.project, results.job_run_id, results.shards)


def results_link(request: Request, services: Services, state: JobRunState) -> JobRunResults | None:
    """Return the link to the results of a JobRun; None before its end, and without a key to seal a link with."""
    if state.ended_at is None or not services.settings.secret_key:
        return None
    results = ResultsRef(state.workspace, state.project, state.id, state.progress.shards)
    link, expires = _signed_urls(request).sign(results)
    # The link is in the query, which the log of requests does not show.
    url = f"{str(request.base_url).rstrip('/')}{PATH}?link={quote(link, safe='')}"
    return JobRunResults(signed_url=url, signed_url_expiration=expires)


async def results_response(store: Store, project: str, job_run_id: str, shards: int) -> Response:
    """Return the response that streams the results of a JobRun. Raises NotFound or StoreError."""
    found = await find_shards(store, project, job_run_id, shards)
    headers = {"cache-control": "no-store"}
    return StreamingResponse(stream_shards(store, found), media_type=NDJSON, headers=headers)


def _signed_urls(request: Request) -> SignedResultsUrls:
    return cast("SignedResultsUrls", request.app.state.job_run_results)
