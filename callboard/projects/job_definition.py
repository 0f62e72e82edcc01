"""Definitions of Jobs: what somebody has written is checked, and stored with its secrets sealed for the Job."""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from callboard.projects.manifest import Manifest
from callboard.projects.tag_check import TagCheck
from callboard.projects.variables import Variables
from callboard.schemas.errors import BadRequest, StoreError
from callboard.schemas.mask import MASK
from callboard.schemas.rest.field_errors import field_error
from callboard.schemas.rest.jobs import DEFAULT_REQUEST_TIMEOUT, JobAuthSession, JobConfiguration, JobHead, PayloadItem
from callboard.schemas.rest.proxy import split_proxy
from callboard.schemas.rest.sink import S3Sink, WebhookSink
from callboard.schemas.rest.start_request import MAX_TAGS, Retry
from callboard.schemas.suggestion import did_you_mean
from callboard.schemas.workflow.base import clip
from callboard.schemas.workflow.job import JobAuth, JobDefinition, JobOverlap
from callboard.schemas.workflow.proxy import owned_by_job
from callboard.schemas.workflow.sink import DeliverySchedule
from callboard.schemas.workflow.trace import TraceMode
from callboard.security import seal_context
from callboard.security.egress import EgressPolicy, check_field, check_proxy, check_sink
from callboard.security.keyring import KeyRing
from callboard.security.sealed_proxies import seal_proxy
from callboard.security.sealed_sinks import seal_sink, seal_webhook
from callboard.storage import object_keys
from callboard.storage.job_payloads import JobItem, JobItemRetry, PayloadWriter
from callboard.storage.store import Store

_REF_BYTES = 12

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobDefiner:
    """Checks what somebody has written of a Job, and stores it."""

    workspace: str
    store: Store
    ring: KeyRing
    egress: EgressPolicy
    schedule: DeliverySchedule
    """When a Delivery to the sink of the Job is tried again."""

    @cached_property
    def variables(self) -> Variables:
        """The environment variables of the workspace, some of which are secrets."""
        return Variables(self.workspace, self.store, self.ring)

    async def define(
        self, manifest: Manifest, job_id: str, head: JobHead, items: AsyncIterable[PayloadItem], *, digest: str = ""
    ) -> JobDefinition:
        """Store a definition of a Job, and return it. If that fails, nothing of it stays in the store.

        Whoever reads `items`, its payload, has checked them by `check_item`. `digest` is as in `JobDefinition`.

        Raises:
            BadRequest: A field is wrong.
            ConfigurationError: Something must be sealed, and there is no key to seal it with.
            StoreError: The store failed.
        """
        await self._check(manifest, head)
        own = [secret for _, found in _secrets(head) for secret in found]
        tag_check = TagCheck(self.variables, manifest.project, own)
        await tag_check.refuse_secrets(head.tags, "tags")
        project, ref = manifest.project, secrets.token_urlsafe(_REF_BYTES)
        try:
            writer = PayloadWriter(self.store, lambda first: object_keys.job_payload(project, job_id, ref, first))
            async with writer:
                async for item in items:
                    await tag_check.refuse_secrets(item.tags, f"payload[{writer.count}].tags")
                    await writer.add(_stored_item(item).to_line())
            definition = self._seal(project, job_id, ref, head, writer.count, digest)
            await self.store.put(
                object_keys.job_definition(project, job_id, ref), definition.model_dump_json().encode()
            )
        except BaseException:
            await discard_definition(self.store, project, job_id, ref)
            raise
        return definition

    async def _check(self, manifest: Manifest, head: JobHead) -> None:
        check_auth_session(manifest, head)
        _refuse_masks(head)
        if head.sink is not None:
            await check_sink(self.egress, head.sink)
        await check_proxy(self.egress, "proxy", head.proxy)
        await check_proxy(self.egress, "configuration.proxy", head.configuration.proxy)
        for index, notification in enumerate(head.notifications):
            path = f"notifications[{index}].url"
            await check_field(self.egress, path, notification.url, path)

    def _seal(
        self, project: str, job_id: str, ref: str, head: JobHead, payload_count: int, digest: str
    ) -> JobDefinition:
        bound_to = seal_context.job(self.workspace, project, job_id)
        configuration, schedule, url = head.configuration, head.schedule, head.proxy or head.configuration.proxy
        return JobDefinition(
            workspace=self.workspace,
            project=project,
            job_id=job_id,
            ref=ref,
            payload_count=payload_count,
            configuration=configuration.model_dump(by_alias=True, exclude_unset=True, exclude={"proxy"}),
            maximum_attempts=_maximum_attempts(configuration.retry),
            initial_interval=configuration.retry.initial_interval,
            backoff_coefficient=configuration.retry.backoff_coefficient,
            maximum_interval=configuration.retry.maximum_interval,
            request_timeout=_request_timeout(configuration),
            max_concurrent_requests=configuration.max_concurrent_requests,
            max_runs=configuration.max_runs,
            trace=TraceMode.of(configuration.save_trace),
            schedule=None if schedule is None else schedule.model_dump(by_alias=True, exclude_unset=True),
            overlap=JobOverlap.SKIP if schedule is None else schedule.overlap_policy,
            sink=None if head.sink is None else seal_sink(head.sink, self.schedule, self.ring, bound_to),
            proxy=(
                None
                if url is None
                else seal_proxy(url, self.ring, workspace=self.workspace, project=project, owner=owned_by_job(job_id))
            ),
            auth=None if head.auth_session is None else _auth(head.auth_session),
            notifications=tuple(
                seal_webhook(notification.url, notification.headers, self.ring, bound_to)
                for notification in head.notifications
            ),
            tags=tuple(head.tags),
            digest=digest,
        )


def check_auth_session(manifest: Manifest, head: JobHead) -> None:
    """Check that a Job names an AuthSession if, and only if, its project logs in. Raises BadRequest."""
    expected, project = "an object with the id of an AuthSession", manifest.project
    if manifest.settings.auth_sessions.enabled and head.auth_session is None:
        message = f'auth_session: project {project} logs in, so its Jobs need auth_session, such as {{"id": "…"}}.'
        raise field_error("auth_session", expected, message)
    if head.auth_session is not None and not manifest.settings.auth_sessions.enabled:
        message = f"auth_session: project {project} does not use AuthSessions (authSessions.enabled is false)."
        raise field_error("auth_session", "no auth_session for this project", message)


def check_item(manifest: Manifest, head: JobHead, item: PayloadItem, index: int) -> None:
    """Check that the project has the API of an item, and its tags beside those of the Job. Raises BadRequest."""
    if item.api_name not in manifest.apis:
        raise _unknown_api(manifest, item.api_name, f"payload[{index}].apiName")
    if len({*head.tags, *item.tags}) > MAX_TAGS:
        raise field_error(f"payload[{index}].tags", f"at most {MAX_TAGS} tags together with those of the Job")


async def checked_items(manifest: Manifest, head: JobHead, items: Sequence[PayloadItem]) -> AsyncIterator[PayloadItem]:
    """Yield the items of a payload that is known as a whole. Raises BadRequest for one that `check_item` refuses."""
    for index, item in enumerate(items):
        check_item(manifest, head, item, index)
        yield item


async def find_definition(store: Store, project: str, job_id: str, ref: str) -> JobDefinition | None:
    """Return a definition of a Job; None if there is none. Raises StoreError."""
    data = await store.get(object_keys.job_definition(project, job_id, ref))
    return None if data is None else JobDefinition.model_validate_json(data)


async def read_definition(store: Store, project: str, job_id: str, ref: str) -> JobDefinition:
    """Return a definition of a Job.

    Raises:
        StoreError: The store failed, or the definition is missing.
    """
    definition = await find_definition(store, project, job_id, ref)
    if definition is None:
        key = object_keys.job_definition(project, job_id, ref)
        raise StoreError(f"The definition of Job {job_id} is missing in the artifact store: {key}.")
    return definition


async def discard_definition(store: Store, project: str, job_id: str, ref: str) -> None:
    """Delete a definition that no Job has, with its payload; log a warning if that fails."""
    try:
        found = [key async for key in store.list(object_keys.job_definition_prefix(project, job_id, ref))]
        for key in reversed(found):  # The payload goes first: a definition that is found has one.
            await store.delete(key)
    except StoreError:
        log.warning("A definition of Job %s is of no use and could not be removed", job_id, exc_info=True)


def shown_items(items: Sequence[JobItem]) -> list[dict[str, Any]]:
    """Return items as they are answered."""
    return [item.model_dump(by_alias=True, exclude_none=True) for item in items]


def _refuse_masks(head: JobHead) -> None:
    """Refuse a masked secret: a caller who copied it from an answer would lose the secret itself."""
    for path, secrets_there in _secrets(head):
        if MASK in secrets_there:
            message = f"{path}: {MASK} stands for a secret that is not shown. Write the secret itself."
            raise field_error(path, "the secret itself", message)


def _secrets(head: JobHead) -> Iterator[tuple[str, Sequence[str | None]]]:
    for path, url in (("proxy", head.proxy), ("configuration.proxy", head.configuration.proxy)):
        yield path, proxy_secrets(url)
    yield from sink_secrets(head.sink)
    for index, notification in enumerate(head.notifications):
        yield f"notifications[{index}].url", (urlsplit(notification.url).query,)
        yield f"notifications[{index}].headers", [*notification.headers.values()]


def proxy_secrets(url: str | None) -> Sequence[str | None]:
    """Return the secrets of a proxy, if there is one."""
    if url is None:
        return ()
    proxy = split_proxy(url)
    return proxy.username, proxy.password


def sink_secrets(sink: WebhookSink | S3Sink | None) -> Iterator[tuple[str, Sequence[str | None]]]:
    """Yield the secrets of a sink, with the paths where they are in a request."""
    match sink:
        case WebhookSink(url=url, headers=headers):
            yield "sink.url", (urlsplit(url).query,)
            yield "sink.headers", [*headers.values()]
        case S3Sink(access_key_id=key_id, secret_access_key=key):
            yield "sink.accessKeyId", (key_id,)
            yield "sink.secretAccessKey", (key,)
        case None:
            pass


def _unknown_api(manifest: Manifest, api: str, path: str) -> BadRequest:
    message = f"{path}: project {manifest.project} has no API {clip(api, 100)!r}.{did_you_mean(api, manifest.apis)}"
    return field_error(path, "the name of an API of the project", message)


def _stored_item(item: PayloadItem) -> JobItem:
    retry = item.retry.model_dump(exclude_unset=True)
    return JobItem(
        api_name=item.api_name,
        parameters=item.parameters,
        request_timeout=None if item.request_timeout == DEFAULT_REQUEST_TIMEOUT else item.request_timeout,
        retry=JobItemRetry(**retry) if retry else None,
        tags=tuple(item.tags) or None,
    )


def _maximum_attempts(retry: Retry) -> int | None:
    return retry.maximum_attempts if "maximum_attempts" in retry.model_fields_set else None


def _request_timeout(configuration: JobConfiguration) -> timedelta | None:
    seconds = configuration.request_timeout
    return None if seconds == DEFAULT_REQUEST_TIMEOUT else timedelta(seconds=seconds)


def _auth(auth_session: JobAuthSession) -> JobAuth:
    return JobAuth(
        id=auth_session.id,
        check_attempts=auth_session.check_attempts,
        create_attempts=auth_session.create_attempts,
        save_trace=auth_session.save_trace,
        is_exclusive=auth_session.lease is not None,
    )
