"""Refuse tags that hold a secret: they are shown in the clear, in lists and in Temporal."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from callboard.projects.variables import Variables
from callboard.schemas.rest.field_errors import field_error
from callboard.security.masking import Masker


@dataclass
class TagCheck:
    """Knows the secrets of one request, and looks up those of its project once there are tags."""

    variables: Variables
    project: str
    own_secrets: Collection[str | None] = field(repr=False)
    """The secrets that the request itself has."""
    _masker: Masker | None = None

    async def refuse_secrets(self, tags: Sequence[str], path: str) -> None:
        """Refuse tags in which there is a secret; `path` is where they are in the request.

        Raises:
            BadRequest: There is a secret in one of them.
            StoreError: The store failed.
            SealError, ConfigurationError: A secret variable cannot be opened.
        """
        if not tags:
            return
        if self._masker is None:
            visible = [*await self.variables.list(None), *await self.variables.list(self.project)]
            secrets = [*self.own_secrets, *(each.value for each in visible if each.secret)]
            self._masker = Masker(secret for secret in secrets if secret is not None)
        for index, tag in enumerate(tags):
            if self._masker.mask_text(tag) != tag:
                raise field_error(f"{path}[{index}]", "a tag without a secret in it: tags are shown in the clear")
