"""Names that need Intuned's platform: they can be imported, and say so when they are called."""

from __future__ import annotations

from typing import Any, NoReturn


class PlatformOnlyError(NotImplementedError):
    """The helper needs a service of Intuned's platform that Callboard does not have."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} needs a service of Intuned's platform, which Callboard does not have. "
            "Remove the call, or catch intuned_runtime.PlatformOnlyError."
        )


def get_ai_gateway_config() -> NoReturn:
    """Raise PlatformOnlyError: there is no model gateway of the platform here."""
    raise PlatformOnlyError("get_ai_gateway_config()")


def send_message_to_agent(*_args: Any, **_kwargs: Any) -> NoReturn:
    """Raise PlatformOnlyError: there is no agent of the platform here."""
    raise PlatformOnlyError("send_message_to_agent()")
