"""What docs/temporal-cloud.md says is so."""

from __future__ import annotations

import re
from datetime import timedelta

from temporalio.client import Client

from schemas.workflow.names import SEARCH_ATTRIBUTES
from settings import Settings
from temporal.client import connect
from temporal.namespace_steps import add_search_attributes, format_steps, set_retention
from tests.support.repository import REPOSITORY

PAGE = (REPOSITORY / "docs" / "temporal-cloud.md").read_text()
ADDRESS = "shop.abc12.tmprl.cloud:7233"


async def cloud() -> Client:
    """A client that has not connected yet."""
    settings = Settings(temporal_address=ADDRESS, temporal_namespace="shop.abc12", temporal_environment_config=False)
    return await connect(settings, lazy=True)


async def test_the_steps_are_printed_like_this() -> None:
    client = await cloud()
    days = [timedelta(days=days) for days in (7, 30)]
    steps = format_steps([set_retention(client, *days), add_search_attributes(client, SEARCH_ATTRIBUTES)])
    (block,) = re.findall(r"```text\n(.*?)```", PAGE, flags=re.DOTALL)
    shown = [
        line.removeprefix("   ") for line in block.splitlines() if not line.strip().startswith(("…", "Temporal at"))
    ]
    beginnings = [re.split(r"…| CallboardApi, … ", line)[0].rstrip() for line in shown[1:] if line.strip()]
    assert len(beginnings) == 4
    for beginning in beginnings:
        assert [step for step in steps if step.startswith(beginning)], beginning


def test_the_number_of_search_attributes_is_that_of_the_code() -> None:
    assert f"| Callboard has {len(SEARCH_ATTRIBUTES)}. |" in PAGE


def test_every_variable_of_callboard_is_one() -> None:
    named = set(re.findall(r"\bCALLBOARD_[A-Z_]*[A-Z]\b", PAGE))
    assert named <= {f"CALLBOARD_{field.upper()}" for field in Settings.model_fields}
