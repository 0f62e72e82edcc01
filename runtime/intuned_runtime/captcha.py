"""Captcha solving needs a browser extension of Intuned's platform: importable, and says so when it is called."""

from __future__ import annotations

import inspect
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

    async def raising(*_a: Any, **_k: Any) -> NoReturn:
        raise PlatformOnlyError("wait_for_captcha_solve()")

    def decorate(_function: Any) -> Any:
        return raising

    if inspect.isfunction(target):
        return raising
    if target is None and func is None:
        return decorate
    return raising()


async def on_captcha_event(*_args: Any, **_kwargs: Any) -> NoReturn:
    """Raise PlatformOnlyError."""
    raise PlatformOnlyError("on_captcha_event()")


async def once_captcha_event(*_args: Any, **_kwargs: Any) -> NoReturn:
    """Raise PlatformOnlyError."""
    raise PlatformOnlyError("once_captcha_event()")


async def pause_captcha_solver(*_args: Any, **_kwargs: Any) -> NoReturn:
    """Raise PlatformOnlyError."""
    raise PlatformOnlyError("pause_captcha_solver()")


async def resume_captcha_solver(*_args: Any, **_kwargs: Any) -> NoReturn:
    """Raise PlatformOnlyError."""
    raise PlatformOnlyError("resume_captcha_solver()")
