"""Find out what references to secrets in the parameters of AuthSessions stand for (docs/contract.md, section 7.3).

Files and paths in the vault lie below a folder of the project's name: who may use one project reads nothing of another.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

import httpx
from pydantic import SecretStr

from callboard.schemas.errors import ConfigurationError, EgressRefused
from callboard.schemas.rest.env_vars import VALUE_LIMIT
from callboard.schemas.rest.login_parameters import is_reference
from callboard.schemas.workflow.attempt import ResolvedSecret
from callboard.security.egress import EgressPolicy
from callboard.security.pinned_transport import PinnedTransport

_VAULT_TIMEOUT = 10.0
"""Seconds for all that an Attempt needs of the vault."""
_VAULT_LIMIT = 1024 * 1024
"""Most bytes of an answer of the vault."""
_TOKEN = re.compile(r"[!-~]+")
"""What a token may look like: a header has no other characters."""


class _UnresolvedError(Exception):
    """There is no value; the message is the sentence that says why, and has no value in it."""


@dataclass(frozen=True)
class SecretSources:
    """Where secrets are kept that are no environment variables, as the operator has set it."""

    folder: Path | None = None
    """Folder with a folder for each project, in which each file is a secret."""
    vault_url: str | None = None
    """Address of a mount of version 2 of the key-value engine, such as `https://vault.example:8200/v1/secret/data`."""
    vault_token: str | None = field(default=None, repr=False)
    egress: EgressPolicy = field(default_factory=EgressPolicy, repr=False)
    """Where the vault may be."""

    @classmethod
    def of(
        cls, folder: Path | None, vault_url: str | None, vault_token: SecretStr | None, egress_allow: Sequence[str]
    ) -> SecretSources:
        """Return the sources that these settings name. Raises ConfigurationError if one of them is wrong."""
        token = None if vault_token is None else vault_token.get_secret_value()
        if token is not None and _TOKEN.fullmatch(token) is None:
            # The HTTP client would quote it in its error, and that is told to authors of projects.
            raise ConfigurationError(
                "CALLBOARD_VAULT_TOKEN cannot be sent, as it has a space, a line break or another such character."
            )
        return cls(folder, vault_url, token, EgressPolicy(egress_allow))

    async def resolve(
        self, references: Collection[str], project: str, variables: Mapping[str, str]
    ) -> dict[str, ResolvedSecret]:
        """Return what references of a project stand for, each with a value or the reason why there is none.

        What is no reference stands for nothing.

        Args:
            references: Their texts, such as `SHOP_KEY`, `file:shop/password` or `vault:shop#password`.
            project: The project.
            variables: The environment variables that it sees.
        """
        # They were checked when they came. But workers with Machines can write what they are read from.
        wanted = sorted(filter(is_reference, set(references)))
        vault_paths = sorted({_vault_path(each)[0] for each in wanted if each.startswith("vault:")})
        vault = await self._read_vault(project, vault_paths) if vault_paths else {}
        found: dict[str, ResolvedSecret] = {}
        for reference in wanted:
            try:
                found[reference] = ResolvedSecret(value=await self._value(reference, project, variables, vault))
            except _UnresolvedError as error:
                found[reference] = ResolvedSecret(problem=f"The secret {reference} is not there: {error}")
        return found

    async def _value(
        self, reference: str, project: str, variables: Mapping[str, str], vault: Mapping[str, dict[str, Any] | str]
    ) -> str:
        kind, colon, rest = reference.partition(":")
        if not colon:
            if reference not in variables:
                raise _UnresolvedError("the project sees no environment variable of this name.")
            return variables[reference]
        if kind == "file":
            return await asyncio.to_thread(self._read_file, project, rest)
        path, name = _vault_path(reference)
        answer = vault[path]
        if isinstance(answer, str):
            raise _UnresolvedError(answer)
        value = answer.get(name)
        if not isinstance(value, str) or not _is_text(value):
            raise _UnresolvedError("the vault has no text in this field.")
        if len(value.encode()) > VALUE_LIMIT:
            raise _UnresolvedError(f"the value in the vault has more than {VALUE_LIMIT} bytes.")
        return value

    def _read_file(self, project: str, path: str) -> str:
        if self.folder is None:
            raise _UnresolvedError("CALLBOARD_SECRETS_DIR is not set.")
        root = self.folder / project
        try:
            # Kubernetes mounts links to a folder beside them. What leads out of the project's folder is not followed.
            top = root.resolve(strict=True)
            file = (root / path).resolve(strict=True)
            if not file.is_relative_to(top) or not file.is_file():
                raise _UnresolvedError(f"it is no file in the folder {project} of CALLBOARD_SECRETS_DIR.")
            with file.open("rb") as opened:
                data = opened.read(VALUE_LIMIT + 2)
        except OSError as error:
            raise _UnresolvedError(f"the file cannot be read ({error.strerror}).") from error
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise _UnresolvedError("the file is no text in UTF-8.") from error
        text = text.removesuffix("\n").removesuffix("\r")
        if len(text.encode()) > VALUE_LIMIT:
            raise _UnresolvedError(f"the file has more than {VALUE_LIMIT} bytes.")
        return text

    async def _read_vault(self, project: str, paths: Collection[str]) -> dict[str, dict[str, Any] | str]:
        """Return what the vault has at these paths of the project: the fields, or the sentence why there are none."""
        if self.vault_url is None or self.vault_token is None:
            return dict.fromkeys(paths, "CALLBOARD_VAULT_URL and CALLBOARD_VAULT_TOKEN are not set.")
        base, token = self.vault_url.rstrip("/"), self.vault_token
        answers: dict[str, dict[str, Any] | str] = {}

        async def read(client: httpx.AsyncClient, path: str) -> None:
            try:
                async with client.stream("GET", f"{base}/{project}/{path}") as answer:
                    answers[path] = await _fields(answer)
            except EgressRefused as error:
                answers[path] = f"the vault may not be asked. {error.message}"
            except httpx.HTTPError as error:
                answers[path] = f"the vault does not answer ({str(error) or type(error).__name__})."

        headers = {"x-vault-token": token, "accept-encoding": "identity"}
        transport = PinnedTransport(self.egress)
        with suppress(TimeoutError):
            async with (
                asyncio.timeout(_VAULT_TIMEOUT),
                httpx.AsyncClient(transport=transport, headers=headers, timeout=_VAULT_TIMEOUT) as client,
            ):
                await asyncio.gather(*(read(client, path) for path in paths))
        late = f"the vault has not answered within {_VAULT_TIMEOUT:g} seconds."
        return {path: answers.get(path, late) for path in paths}


async def _fields(answer: httpx.Response) -> dict[str, Any] | str:
    """Return the fields in an answer of the vault, or the sentence why there are none."""
    if answer.status_code != HTTPStatus.OK:
        return f"the vault answers {answer.status_code}."
    body = bytearray()
    async for part in answer.aiter_raw():
        body += part
        if len(body) > _VAULT_LIMIT:
            return f"the vault's answer has more than {_VAULT_LIMIT} bytes."
    try:
        fields: Any = json.loads(body)["data"]["data"]
    except (ValueError, LookupError, TypeError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        return "the vault's answer is not that of version 2 of its key-value engine."
    return cast("dict[str, Any]", fields)


def _is_text(value: str) -> bool:
    """Tell whether a text of JSON is one of Unicode: JSON can have half a character."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _vault_path(reference: str) -> tuple[str, str]:
    """Return path and field of a reference to the vault."""
    path, _, name = reference.removeprefix("vault:").partition("#")
    return path, name
