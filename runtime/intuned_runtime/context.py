"""What the runtime knows while an Attempt runs; user code finds it from wherever it runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar


@dataclass(frozen=True)
class RunContext:
    """Who runs this Attempt; what does not apply is None."""

    job_id: str | None = None
    job_run_id: str | None = None
    run_id: str | None = None
    auth_session_id: str | None = None
    dependency_id: str | None = None
    dependency_for: str | None = None
    parent_run_id: str | None = None
    auth_session: Any = None
    proxy: str | None = None
    trace_id: str | None = None
    """The id of the OpenTelemetry trace that the Attempt belongs to."""
    traceparent: str | None = None
    """The header `traceparent` (W3C Trace Context) with which a service that is called takes part in that trace."""
    attempt_path: str | None = None
    """The path of the Attempt below the API's address; those of its log, trace and files begin with it."""


def _no_clock() -> None:
    """Stands where no clock runs: outside an Attempt."""


async def _nobody(operation: str, **_arguments: Any) -> Any:
    """Stands where nobody answers: outside an Attempt."""
    raise RuntimeError(f"{operation} works only inside a running automation")


@dataclass
class IntunedContext:
    """One Attempt's context. The runtime enters it; user code reads it by `IntunedContext.current()`."""

    run_context: RunContext | None = None
    extend_timeout: Callable[[], None] = _no_clock
    extended_payloads: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    store: dict[str, Any] = field(default_factory=dict[str, Any])
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])
    ask: Callable[..., Awaitable[Any]] = _nobody
    """A request to the worker: operation and arguments."""
    output: Path = field(default_factory=lambda: Path("output").absolute())
    """The folder whose files are kept. The working folder is the project's when the context is made."""
    _current: ClassVar[IntunedContext | None] = None
    """The context of this process, which has one Attempt."""

    @classmethod
    def current(cls) -> IntunedContext:
        """Return the context of the Attempt that runs. Raises RuntimeError outside of one."""
        if cls._current is None:
            raise RuntimeError("There is no Attempt here: intuned_runtime works only inside a running automation.")
        return cls._current

    def enter(self) -> None:
        """Make this the context of the process, which ends with its Attempt."""
        IntunedContext._current = self


def run_info() -> RunContext:
    """Ids of the Run that this Attempt belongs to, and what it was given; see `RunContext`."""
    return IntunedContext.current().run_context or RunContext()
