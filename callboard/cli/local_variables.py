"""Environment variables and secrets that `callboard run` gives a project with no server, as `callboard dev` would.

REST never shows a secret. So the variables are read where `callboard dev` keeps them, in its store, with the key that
lies in its data folder: both are for the same user alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from callboard.dev.data_folder import read_secret
from callboard.projects.project_settings import ProjectSettings
from callboard.projects.secret_references import SecretSources
from callboard.projects.settings_file import resolve_project_name
from callboard.projects.variables import Variables, read_dotenv
from callboard.schemas.errors import BadRequest
from callboard.schemas.rest.auth_sessions import UpdateAuthSession
from callboard.schemas.rest.env_vars import VariableScope
from callboard.schemas.rest.field_errors import validation_error
from callboard.schemas.rest.login_parameters import references_in, with_references_replaced
from callboard.settings import Settings
from callboard.storage.factory import open_store


@dataclass(frozen=True)
class LocalVariables:
    """The variables of a project on its author's host, and what parameters of its logins refer to."""

    project: str
    values: Mapping[str, str] = field(repr=False)
    """The variables that are `AUTHORING` where `callboard dev` keeps them, and over them those of `.env`."""
    sources: SecretSources

    @classmethod
    def read(cls, folder: Path, project: ProjectSettings, settings: Settings) -> LocalVariables:
        """Read the variables of the project in `folder`.

        Raises:
            ConfigurationError, SealError: They cannot be opened, or `.env` cannot be read.
            ProjectError: The project has no name.
            StoreError: The store failed.
        """
        name = resolve_project_name(folder, project)
        own = read_secret(settings.data_dir.expanduser() / "secret-key")
        keys = [key.get_secret_value() for key in settings.secret_key] or ([] if own is None else [own])
        stored: dict[str, str] = {}
        if keys:  # without one, nothing was stored
            store = open_store(settings.artifact_location, endpoint=settings.artifacts_endpoint)
            variables = Variables.with_keys(settings.workspace, store, keys)
            of_workspace, own_ones = asyncio.run(variables.of_project(name, VariableScope.AUTHORING))
            stored = {variable.name: variable.value for variable in (*of_workspace, *own_ones)}
        sources = SecretSources.of(
            settings.secrets_dir, settings.vault_url, settings.vault_token, settings.egress_allow
        )
        return cls(name, {**stored, **read_dotenv(folder)}, sources)

    def resolve(self, parameters: dict[str, Any] | None) -> Any:
        """Return the parameters of a login, if it has any, with what their references stand for.

        Raises:
            BadRequest: A reference is wrong, or its secret is missing.
        """
        if parameters is None:
            return None
        try:
            UpdateAuthSession(parameters=parameters)
        except ValidationError as error:
            raise validation_error(error, UpdateAuthSession) from None
        references = list(references_in(parameters))
        found = asyncio.run(self.sources.resolve(references, self.project, self.values))
        for secret in found.values():
            if secret.problem is not None:
                raise BadRequest(secret.problem)
        return with_references_replaced(parameters, lambda reference: found[reference].value)
