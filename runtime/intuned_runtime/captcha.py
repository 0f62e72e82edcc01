"""Captcha solving needs a browser extension of Intuned's platform: importable, and says so when it is called."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from .platform import PlatformOnlyError

__all__ = [
    "Captcha",
    "on_captcha_event",
    "once_captcha_event",
    "pause_captcha_solver",
    "resume_captcha_solver",
    "wait_for_captcha_solve",
]


@dataclass(frozen=True)
class Captcha:
    """What an event would tell; there are none here."""

    id: str
    type: str
    status: str


def wait_for_captcha_solve(target: Any = None, *_args: Any, func: Any = None, **_kwargs: Any) -> Any:
    """Raise PlatformOnlyError when it is awaited; what it decorates raises that when it is called."""
    raising = _missing("wait_for_captcha_solve")

    def decorate(_function: Any) -> Any:
        return raising

    if inspect.isfunction(target):
        return raising
    if target is None and func is None:
        return decorate
    return raising()


def _missing(name: str) -> Callable[..., Awaitable[NoReturn]]:
    async def raising(*_args: Any, **_kwargs: Any) -> NoReturn:
        raise PlatformOnlyError(f"{name}()")

    return raising


on_captcha_event = _missing("on_captcha_event")
once_captcha_event = _missing("once_captcha_event")
pause_captcha_solver = _missing("pause_captcha_solver")
resume_captcha_solver = _missing("resume_captcha_solver")
