"""The environment variables of an Attempt, and what references to secrets stand for, on their way to its Machine.

They travel as one sealed text, which is bound to the Run: a history, and whoever reads it, has nothing in the clear.
"""

from __future__ import annotations

from pydantic import Field

from callboard.schemas.workflow.base import FlowModel, OpenStrEnum


class VariableSource(OpenStrEnum):
    """Where a variable comes from."""

    WORKSPACE = "workspace"
    PROJECT = "project"
    FILE = ".env"
    """The file `.env` of the project folder, in `callboard dev`."""


class SealedVariables(FlowModel):
    """What one Attempt gets, sealed: `AttemptVariables` as JSON. It is here or, if it is large, in the store."""

    token: str | None = Field(default=None, repr=False)
    key: str | None = None


class AttemptVariable(FlowModel):
    """An environment variable of an Attempt, in the clear. It lives in memory only."""

    name: str
    value: str = Field(repr=False)
    secret: bool
    source: VariableSource


class ResolvedSecret(FlowModel):
    """What a reference `{"$secret": …}` stands for: a value, or the sentence that says why there is none."""

    value: str | None = Field(default=None, repr=False)
    problem: str | None = None


class RecordedVariable(FlowModel):
    """An environment variable as an Attempt's record names it."""

    name: str
    source: VariableSource
    secret: bool


class AttemptVariables(FlowModel):
    """What one Attempt gets, in the clear. It lives in memory only."""

    variables: tuple[AttemptVariable, ...] = ()
    secrets: dict[str, ResolvedSecret] = Field(default_factory=dict[str, ResolvedSecret], repr=False)
    """What the references in the parameters of its AuthSession stand for, by their text."""

    @property
    def recorded(self) -> tuple[RecordedVariable, ...]:
        """What the Attempt's record says of the variables."""
        return tuple(
            RecordedVariable(name=variable.name, source=variable.source, secret=variable.secret)
            for variable in self.variables
        )

    @property
    def secret_values(self) -> tuple[str, ...]:
        """All values that are masked in what the Attempt leaves."""
        resolved = (secret.value for secret in self.secrets.values() if secret.value is not None)
        return (*(variable.value for variable in self.variables if variable.secret), *resolved)
