"""The field `authSession` of a start: which AuthSession the Run uses, and how it is checked and recreated."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta

from api.auth_sessions.lookup import require_auth_session
from api.dependencies import Services
from api.request_secrets import resolve_proxy, store_sealed
from api.runs.idempotency import RunIdentity, was_started
from projects.manifest import Manifest
from schemas.rest.field_errors import field_error
from schemas.rest.run_auth_session import RuntimeAuthSession, StoredAuthSession
from schemas.workflow import names
from schemas.workflow.auth import AuthSessionRef, AuthSessionType, RunAuth
from schemas.workflow.trace import TraceMode
from storage import keys


async def build_run_auth(
    services: Services, manifest: Manifest, requested: StoredAuthSession | RuntimeAuthSession, identity: RunIdentity
) -> RunAuth:
    """Return the part of the Run's input that is about its AuthSession. Nothing is stored yet.

    Raises:
        BadRequest: The request has a `runtimeInput`, but people record the logins of this project.
        NotFound: There is no such AuthSession.
        ConfigurationError: A proxy must be sealed, and there is no key to seal it with.
        Unavailable: Temporal does not answer.
    """
    stored, parameters_key = None, None
    if isinstance(requested, StoredAuthSession):
        view = await require_auth_session(services, manifest.project, requested.id, "authSession.id")
        ref, stored = AuthSessionRef(id=view.id, type=view.type, owner=view.id), view.proxy
    else:
        if manifest.settings.auth_sessions.type == "MANUAL":
            raise field_error(
                "authSession.runtimeInput",
                "no runtimeInput for this project",
                f"authSession.runtimeInput: the logins of project {manifest.project} are recorded by people "
                '(authSessions.type is "MANUAL"), so none can be made from an input. Name an AuthSession by its id.',
            )
        ref = AuthSessionRef(
            id=requested.id or f"runtime-{identity.run_id}",
            type=AuthSessionType.RUNTIME,
            owner=names.runtime_owner(identity.run_id),
        )
        parameters_key = _parameters_key(manifest.project, ref.owner, identity)
    return RunAuth(
        ref=ref,
        auto_recreate=requested.auto_recreate and ref.type is not AuthSessionType.RECORDER,
        check_attempts=requested.check_attempts,
        create_attempts=requested.create_attempts,
        request_timeout=timedelta(seconds=requested.request_timeout),
        trace=TraceMode.of(requested.save_trace),
        proxy=resolve_proxy(services, manifest, identity.run_id, requested.proxy, stored),
        save_back=manifest.settings.auth_sessions.save_back,
        parameters_key=parameters_key,
    )


async def store_runtime_input(
    services: Services, project: str, auth: RunAuth, requested: RuntimeAuthSession, identity: RunIdentity
) -> bool:
    """Store the `runtimeInput` for the Run, sealed.

    Return whether it was stored. False means that there is none to store, or that the Run exists already, and has what
    it needs or does not need it any more.

    Raises:
        ConfigurationError: There is no key to seal with.
        StoreError, Unavailable: The artifact store, or Temporal, does not answer.
    """
    if auth.parameters_key is None or await was_started(services, project, identity):
        return False
    text = json.dumps(requested.runtime_input, separators=(",", ":"))
    await store_sealed(services, project, auth.ref.owner, auth.parameters_key, text)
    return True


def _parameters_key(project: str, owner: str, identity: RunIdentity) -> str:
    # Two bodies with one Idempotency-Key get two artifacts: the second one must not replace that of the first.
    owner_key = (
        hashlib.sha256(identity.fingerprint.encode("ascii")).hexdigest() if identity.fingerprint else identity.run_id
    )
    return keys.auth_session_parameters(project, owner, owner_key)
