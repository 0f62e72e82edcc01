"""`authSession` of a start: which AuthSession the Run uses, and how it is kept good."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta

from api.admission import auth_session
from api.identity import Identity
from api.parts import Parts
from api.sealing import first_proxy, put_sealed
from contract.errors import NotFound
from contract.flow.auth import AuthOrder, AuthSessionRef, AuthSessionType
from contract.flow.trace import TraceMode
from contract.rest.auth_session import RuntimeAuthSession, StoredAuthSession
from contract.rest.problems import bad_field
from projects.manifest import Manifest
from storage import keys


async def auth_order(
    parts: Parts, manifest: Manifest, said: StoredAuthSession | RuntimeAuthSession, who: Identity
) -> AuthOrder:
    """What the Run is ordered to do about its login. Nothing is kept yet.

    Raises:
        BadRequest: `runtimeInput` for a project whose logins are recorded.
        NotFound: There is no such AuthSession.
        ConfigurationError, Unavailable: As everywhere.
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
    return AuthOrder(
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
    parts: Parts, project: str, order: AuthOrder, said: RuntimeAuthSession, who: Identity
) -> bool:
    """Keep the `runtimeInput` for the Run, sealed; False if the Run exists, and has what it needs or needs no more.

    Raises:
        ConfigurationError: There is no key to seal with.
        StoreError, Unavailable: The store, or Temporal, does not answer.
    """
    if order.parameters_key is None or (who.fingerprint and await _exists(parts, project, who.run_id)):
        return False
    text = json.dumps(said.runtime_input, separators=(",", ":"))
    await put_sealed(parts, project, order.ref.owner, order.parameters_key, text)
    return True


async def _exists(parts: Parts, project: str, run_id: str) -> bool:
    try:
        await parts.runs.state(parts.settings.workspace, project, run_id)
    except NotFound:
        return False
    return True


def _parameters_key(project: str, owner: str, who: Identity) -> str:
    # Two bodies of one Idempotency-Key are two objects: the one that comes second must not replace the first one's.
    which = hashlib.sha256(who.fingerprint.encode("ascii")).hexdigest() if who.fingerprint else who.run_id
    return keys.auth_session_parameters(project, owner, which)


def _recorded(manifest: Manifest) -> Exception:
    return bad_field(
        "authSession.runtimeInput",
        "no runtimeInput for this project",
        f"authSession.runtimeInput: the logins of project {manifest.project} are recorded by people "
        '(authSessions.type is "MANUAL"), so none can be made from an input. Name an AuthSession by its id.',
    )
