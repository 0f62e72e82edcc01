"""Sealing what is secret in a request, before it enters Temporal or the artifact store; and taking it back."""

from __future__ import annotations

import logging

from api.parts import Parts
from contract.errors import BadRequest, CallboardError, ConfigurationError, Conflict, NotFound, StoreError
from contract.flow.proxy import SealedProxy
from contract.rest.proxy import split_proxy
from projects.manifest import Manifest
from security import bindings

log = logging.getLogger(__name__)


def seal_proxy(parts: Parts, project: str, url: str, owner: str) -> SealedProxy:
    """A proxy with its credentials sealed.

    Args:
        parts: Of the request.
        project: Whose it is.
        url: As a client or a project's settings write it.
        owner: As in `SealedProxy`: the id of a Run, or `owned_by_auth_session`.

    Raises:
        ConfigurationError: There is no key to seal with.
    """
    bound_to = bindings.run(parts.settings.workspace, project, owner)
    proxy = split_proxy(url)
    sealed = [parts.ring.seal(text, bound_to=bound_to) if text else None for text in (proxy.username, proxy.password)]
    return SealedProxy(server=proxy.server, username=sealed[0], password=sealed[1], owner=owner)


def first_proxy(
    parts: Parts, manifest: Manifest, run_id: str, said: str | None, stored: SealedProxy | None = None
) -> SealedProxy | None:
    """The one that was said, else the stored one, else the project's; what is sealed is sealed for the Run."""
    if said is None and stored is not None:
        return stored
    url = manifest.settings.proxy_in(parts.settings.environment) if said is None else said
    return None if url is None else seal_proxy(parts, manifest.project, url, run_id)


async def put_sealed(parts: Parts, project: str, owner: str, key: str, text: str) -> None:
    """Keep a secret of an AuthSession (parameters, a state) as an artifact.

    Raises:
        ConfigurationError: There is no key to seal with.
        StoreError: The store failed.
    """
    bound_to = bindings.auth_session(parts.settings.workspace, project, owner)
    await parts.store.put(key, parts.ring.seal(text, bound_to=bound_to).encode("ascii"))


def is_undone(error: CallboardError) -> bool:
    """Whether it is known that what was ordered has not begun. Where Temporal did not answer, it may have."""
    return isinstance(error, BadRequest | NotFound | Conflict | ConfigurationError | StoreError)


async def forget(parts: Parts, *keys: str | None) -> None:
    """Remove artifacts that are of no use to anybody; one that cannot be removed is told in the log."""
    for key in keys:
        if key is None:
            continue
        try:
            await parts.store.delete(key)
        except StoreError:
            log.warning("%s is of no use and could not be removed", key, exc_info=True)
