"""Seal the credentials of proxies for whoever owns them, and open them again."""

from __future__ import annotations

from urllib.parse import quote

from callboard.schemas.rest.proxy import split_proxy
from callboard.schemas.workflow.proxy import SealedProxy
from callboard.security import seal_context
from callboard.security.keyring import KeyRing


def seal_proxy(url: str, ring: KeyRing, *, workspace: str, project: str, owner: str) -> SealedProxy:
    """Return a proxy with its credentials sealed for `owner`, which is that of `SealedProxy`.

    That is the id of a Run or a JobRun, or the result of `owned_by_auth_session` or `owned_by_job`.

    Raises:
        ConfigurationError: There is no key to seal with.
    """
    bound_to = seal_context.run(workspace, project, owner)
    proxy = split_proxy(url)
    sealed = [ring.seal(text, bound_to=bound_to) if text else None for text in (proxy.username, proxy.password)]
    return SealedProxy(server=proxy.server, username=sealed[0], password=sealed[1], owner=owner)


def open_proxy(proxy: SealedProxy, ring: KeyRing, *, workspace: str, project: str, carrier: str) -> str:
    """Return the URL of a proxy, with its credentials. `carrier` is the id of the Run that carries it.

    Raises:
        SealError: A credential cannot be opened: it was sealed for another owner.
        ConfigurationError: There is no key to open it with.
    """
    if proxy.username is None:
        return proxy.server
    bound_to = seal_context.run(workspace, project, proxy.owner or carrier)
    parts = [part for part in (proxy.username, proxy.password) if part is not None]
    user = ":".join(quote(ring.open(part, bound_to=bound_to), safe="") for part in parts)
    scheme, _, host = proxy.server.partition("://")
    return f"{scheme}://{user}@{host}"
