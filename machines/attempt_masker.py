"""The masker of an Attempt: what the Attempt's errors must not tell."""

from __future__ import annotations

import json
from typing import Any, cast

from machines.attempt_spec import AttemptSpec
from security.masking import Masker
from security.secret_detection import find_secrets_in_state


def masker_for(spec: AttemptSpec) -> Masker:
    """Return a masker for the secrets that the Attempt was given.

    These are the listed ones, those in its AuthSession's state, and the credentials of its proxy.
    """
    secrets = set(spec.secrets)
    if spec.storage_state is not None:
        secrets.update(_of_state(spec.storage_state))
    if spec.proxy is not None:
        secrets.update(each for each in (spec.proxy.username, spec.proxy.password) if each is not None)
    return Masker(secrets)


def _of_state(text: str) -> set[str]:
    try:
        state: Any = json.loads(text)
    except ValueError:  # the state is no JSON, which the Machine says in its report
        return set()
    return find_secrets_in_state(cast("dict[str, Any]", state)) if isinstance(state, dict) else set()
