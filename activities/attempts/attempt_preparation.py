"""Prepare an Attempt for a Machine: fetch its version, environment, login and parameters, and open what is sealed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from activities.attempts.attempt_progress import AttemptProgress
from activities.attempts.logins import Logins, OpenedLogin
from activities.attempts.runtime_environment import ProjectEnvironments
from activities.attempts.runtime_services import RuntimeServices
from activities.attempts.store_quota import StoreQuota
from activities.store_retry import ATTEMPT_STORE_TIMEOUT, retry_store
from machines.attempt_spec import AttemptSpec, Proxy, Version
from projects.catalog import Catalog
from projects.manifest import Manifest
from projects.versions import VersionFolders
from schemas.errors import StoreError
from schemas.workflow.attempt import AttemptInput, AttemptKind
from security import seal_context
from security.keyring import KeyRing
from storage.store import Store
from telemetry.tracing import current_trace_id, current_traceparent


@dataclass(frozen=True)
class PreparedAttempt:
    """What a pool of Machines needs for one Attempt, and the login that the Attempt begins with."""

    version: Version
    spec: AttemptSpec
    opened_login: OpenedLogin | None = field(repr=False)


class AttemptPreparation:
    """Prepares Attempts for the Machines of this worker."""

    def __init__(
        self,
        *,
        store: Store,
        catalog: Catalog,
        versions: VersionFolders,
        environments: ProjectEnvironments,
        logins: Logins,
        keyring: KeyRing,
        store_limit: int,
    ) -> None:
        self._store = store
        self._quota = StoreQuota(store, store_limit)
        self._catalog = catalog
        self._versions = versions
        self._environments = environments
        self._logins = logins
        self._keyring = keyring

    async def prepare(self, attempt: AttemptInput, progress: AttemptProgress) -> PreparedAttempt:
        """Return what the Attempt needs; its Machine writes its evidence and its log to where `state` holds them.

        Raises:
            MachineError: The project's environment cannot be built.
            ConfigurationError, SealError: What is sealed, or the project's `.env`, cannot be read.
            StoreError, Unavailable: The store or Temporal has failed for long, or something is not there any more.
            ApplicationError: Of type `NoLogin` or `AuthSessionGone`: there is no login to begin with.
        """
        manifest = await self._manifest(attempt)
        version = await self._version(attempt, manifest)
        opened_login = None
        if attempt.auth is not None:
            secret_parameters = manifest.settings.auth_sessions.secret_parameters
            opened_login = await self._logins.load(attempt, attempt.auth, secret_parameters)
        return PreparedAttempt(version, await self._spec(attempt, opened_login, progress), opened_login)

    async def _manifest(self, attempt: AttemptInput) -> Manifest:
        manifest = await retry_store(
            ATTEMPT_STORE_TIMEOUT, lambda: self._catalog.get_manifest(attempt.project, attempt.version)
        )
        if manifest is None:
            raise StoreError(f"version {attempt.version} of project {attempt.project} is not there any more.")
        return manifest

    async def _version(self, attempt: AttemptInput, manifest: Manifest) -> Version:
        folder = await retry_store(
            ATTEMPT_STORE_TIMEOUT, lambda: self._versions.ensure(attempt.project, attempt.version)
        )
        environment = await self._environments.prepare(manifest, folder, within=ATTEMPT_STORE_TIMEOUT)
        size = manifest.settings.browser_size
        return Version(
            project=attempt.project,
            version=attempt.version,
            folder=folder,
            memory_limit=manifest.settings.memory_limit,
            width=size.width,
            height=size.height,
            headful=manifest.settings.headful,
            allow_file_urls=manifest.settings.allow_file_urls,
            python=environment.python,
            variables=environment.variables,
        )

    async def _spec(
        self, attempt: AttemptInput, opened_login: OpenedLogin | None, progress: AttemptProgress
    ) -> AttemptSpec:
        proxy = self._open_proxy(attempt)
        run_info: dict[str, Any] = {"run_id": attempt.run_id, "proxy": proxy.server if proxy else None}
        if (traceparent := current_traceparent()) is not None:
            run_info |= {"trace_id": current_trace_id(), "traceparent": traceparent}
        services = RuntimeServices(self._store, attempt.project, self._quota)
        if attempt.parent_run_id is not None:
            run_info["parent_run_id"] = attempt.parent_run_id
        if attempt.job is not None:
            run_info |= {"job_id": attempt.job.job_id, "job_run_id": attempt.job.job_run_id}
        if attempt.auth is not None and opened_login is not None:
            run_info["auth_session_id"] = attempt.auth.ref.id
            services = RuntimeServices(
                self._store,
                attempt.project,
                self._quota,
                auth_session=attempt.auth.ref,
                parameters=opened_login.parameters,
            )
        return AttemptSpec(
            run_id=attempt.run_id,
            number=attempt.number,
            api=attempt.api,
            parameters=await self._parameters(attempt, opened_login),
            timeout=attempt.request_timeout,
            proxy=proxy,
            services=services,
            run_info=run_info,
            kind=attempt.kind,
            storage_state=opened_login.storage_state if opened_login else None,
            capture=attempt.auth is not None and attempt.auth.save_back,
            secrets=opened_login.secrets if opened_login else (),
            evidence=progress.evidence,
            log=progress.log.file,
            room_wait=progress.room_wait,
        )

    async def _parameters(self, attempt: AttemptInput, opened_login: OpenedLogin | None) -> str:
        if attempt.kind is AttemptKind.CREATE:
            if opened_login is None or opened_login.parameters is None:
                raise StoreError("the parameters of the AuthSession are not there any more.")
            return opened_login.parameters
        parameters, key = attempt.parameters.text, attempt.parameters.key
        if parameters is None and key is not None:
            stored = await retry_store(ATTEMPT_STORE_TIMEOUT, lambda: self._store.get(key))
            parameters = None if stored is None else stored.decode()
        if parameters is None:
            raise StoreError(f"{key} is not there any more.")
        return parameters

    def _open_proxy(self, attempt: AttemptInput) -> Proxy | None:
        proxy = attempt.proxy
        if proxy is None:
            return None
        bound_to = seal_context.run(attempt.workspace, attempt.project, proxy.owner or attempt.run_id)

        def open_sealed(token: str | None) -> str | None:
            return None if token is None else self._keyring.open(token, bound_to=bound_to)

        return Proxy(server=proxy.server, username=open_sealed(proxy.username), password=open_sealed(proxy.password))
