"""The field `authSession` of a start: which AuthSession the Run uses, and how it is checked and recreated."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta

from api.dependencies import Services
from api.guards import auth_session
from api.request_secrets import first_proxy, put_sealed
from api.runs.ids import Identity
from projects.manifest import Manifest
from schemas.errors import NotFound
from schemas.rest.auth_session import RuntimeAuthSession, StoredAuthSession
from schemas.rest.problems import bad_field
from schemas.workflow.auth import AuthSessionRef, AuthSessionType, RunAuth
from schemas.workflow.trace import TraceMode
from storage import keys


async def auth_order(
    parts: Services, manifest: Manifest, said: StoredAuthSession | RuntimeAuthSession, who: Identity
) -> RunAuth:
    """Return the part of the Run's input that is about its AuthSession. Nothing is stored yet.

    Raises:
        BadRequest: The request has a `runtimeInput`, but people record the logins of this project.
        NotFound: There is no such AuthSession.
        ConfigurationError: A proxy must be sealed, and there is no key to seal it with.
        Unavailable: Temporal does not answer.
    """
    stored, parameters_key = None, None
    if isinstance(said, StoredAuthSession):
        view = await auth_session(parts, manifest.project, said.id, "authSession.id")
        ref, stored = AuthSessionRef(id=view.id, type=view.type, owner=view.id), view.proxy
    else:
        if manifest.settings.auth_sessions.type == "MANUAL":
            raise _recorded(manifest)
        ref = AuthSessionRef(
            id=said.id or f"runtime-{who.run_id}", type=AuthSessionType.RUNTIME, owner=f"~{who.run_id}"
        )
        parameters_key = _parameters_key(manifest.project, ref.owner, who)
    return RunAuth(
        ref=ref,
        auto_recreate=said.auto_recreate and ref.type is not AuthSessionType.RECORDER,
        check_attempts=said.check_attempts,
        create_attempts=said.create_attempts,
        request_timeout=timedelta(seconds=said.request_timeout),
        trace=TraceMode.of(said.save_trace),
        proxy=first_proxy(parts, manifest, who.run_id, said.proxy, stored),
        save_back=manifest.settings.auth_sessions.save_back,
        parameters_key=parameters_key,
    )


async def keep_runtime_input(
    parts: Services, project: str, order: RunAuth, said: RuntimeAuthSession, who: Identity
) -> bool:
    """Store the `runtimeInput` for the Run, sealed.

    Return whether it was stored. False means that there is none to store, or that the Run exists already, and has what
    it needs or does not need it any more.

    Raises:
        ConfigurationError: There is no key to seal with.
        StoreError, Unavailable: The artifact store, or Temporal, does not answer.
    """
    if order.parameters_key is None or (who.fingerprint and await _exists(parts, project, who.run_id)):
        return False
    text = json.dumps(said.runtime_input, separators=(",", ":"))
    await put_sealed(parts, project, order.ref.owner, order.parameters_key, text)
    return True


async def _exists(parts: Services, project: str, run_id: str) -> bool:
    try:
        await parts.runs.state(parts.settings.workspace, project, run_id)
    except NotFound:
        return False
    return True


def _parameters_key(project: str, owner: str, who: Identity) -> str:
    # Two bodies with one Idempotency-Key get two artifacts: the second one must not replace that of the first.
    which = hashlib.sha256(who.fingerprint.encode("ascii")).hexdigest() if who.fingerprint else who.run_id
    return keys.auth_session_parameters(project, owner, which)


def _recorded(manifest: Manifest) -> Exception:
    return bad_field(
        "authSession.runtimeInput",
        "no runtimeInput for this project",
        f"authSession.runtimeInput: the logins of project {manifest.project} are recorded by people "
        '(authSessions.type is "MANUAL"), so none can be made from an input. Name an AuthSession by its id.',
    )
