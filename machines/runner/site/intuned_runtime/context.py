"""What the runtime knows while an Attempt runs; user code finds it from wherever it runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar, Self


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


def _no_clock() -> None:
    """Stands where no clock runs: outside an Attempt."""


async def _nobody(operation: str, **_arguments: Any) -> Any:
    """Stands where nobody answers: outside an Attempt."""
    raise RuntimeError(f"{operation} works only inside a running automation")


@dataclass
class IntunedContext:
    """One Attempt's context. Entered by the runtime; user code reads it by `IntunedContext.current()`."""

    run_context: RunContext | None = None
    extend_timeout: Callable[[], None] = _no_clock
    extended_payloads: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    store: dict[str, Any] = field(default_factory=dict[str, Any])
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])
    ask: Callable[..., Awaitable[Any]] = _nobody
    """A request to the worker: operation and arguments."""
    _tokens: list[Token[IntunedContext | None]] = field(
        default_factory=list["Token[IntunedContext | None]"], repr=False
    )

    _outer: list[IntunedContext | None] = field(default_factory=list["IntunedContext | None"], repr=False)

    _current: ClassVar[ContextVar[IntunedContext | None]] = ContextVar("intuned_context", default=None)
    _entered: ClassVar[IntunedContext | None] = None
    """The Attempt of this process, for code that does not run in its context: handlers of Playwright's events and
    routes, exposed functions, plain threads."""

    @classmethod
    def current(cls) -> IntunedContext:
        """Return the context of the Attempt that runs. Raises RuntimeError outside of one."""
        context = cls._current.get() or cls._entered
        if context is None:
            raise RuntimeError("There is no Attempt here: intuned_runtime works only inside a running automation.")
        return context

    def __enter__(self) -> Self:
        self._tokens.append(self._current.set(self))
        self._outer.append(IntunedContext._entered)
        IntunedContext._entered = self
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._current.reset(self._tokens.pop())
        IntunedContext._entered = self._outer.pop()


def run_info() -> RunContext:
    """Ids of the Run that this Attempt belongs to, and what it was given; see `RunContext`."""
    return IntunedContext.current().run_context or RunContext()
