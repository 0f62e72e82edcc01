"""What the errors of an Attempt must not tell."""

from __future__ import annotations

import json
from typing import Any, cast

from machines.attempt_spec import AttemptSpec
from security.masking import Masker
from security.secret_detection import secrets_of_state


def masker_of(order: AttemptSpec) -> Masker:
    """Masks the secrets that the Attempt was given: those listed, those of its AuthSession's state, its proxy's."""
    secrets = set(order.secrets)
    if order.session is not None:
        secrets.update(_of_state(order.session))
    if order.proxy is not None:
        secrets.update(each for each in (order.proxy.username, order.proxy.password) if each is not None)
    return Masker(secrets)


def _of_state(text: str) -> set[str]:
    try:
        state: Any = json.loads(text)
    except ValueError:  # the Machine says so in its report
        return set()
    return secrets_of_state(cast("dict[str, Any]", state)) if isinstance(state, dict) else set()
