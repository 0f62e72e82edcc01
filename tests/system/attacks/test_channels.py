"""User code says nothing in Callboard's name: to the keeper, to the supervisor, or to the worker behind it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.machines import Language
from tests.system.attacks.installation import API_KEY, SEALING_KEY, Installation, attacker_in

LIES = (
    "ready",
    "idle",
    "begun",
    "done without fields",
    "done with wrong types",
    "done with another session",
    "imports",
    "left elsewhere",
    "open",
    "open many",
    "requests",
    "configure",
    "attempt",
    "stop",
    "deep",
    "huge length",
    "text",
)


@pytest.fixture
async def given(installation: Installation, language: Language) -> dict[str, Any]:
    """What user code has been given."""
    return await installation.attack("descriptors", project=attacker_in(language))


async def test_user_code_inherits_no_descriptor_of_others(given: dict[str, Any]) -> None:
    """It has the ends of its own channels: no file, no folder, no socket with a name, and nothing to read from."""
    kinds = [kind for _, kind in given["descriptors"].values()]
    places = {place for place, _ in given["descriptors"].values()}
    assert places <= {"socket", "pipe", "anon_inode", "/dev/null"}, given["descriptors"]
    # To the supervisor, to the browser, and the two of its event loop.
    assert kinds.count("socket") <= 4, given["descriptors"]


async def test_its_environment_has_nothing_of_callboards(given: dict[str, Any]) -> None:
    environment = given["environment"]
    assert not [name for name in environment if name.startswith(("CALLBOARD_", "PWTEST_", "PLAYWRIGHT_", "AWS_"))]
    assert API_KEY not in str(environment)
    assert SEALING_KEY not in str(environment)


async def test_the_keeper_writes_no_file_for_user_code_and_goes_on_with_the_log(installation: Installation) -> None:
    """The keeper stands outside of all walls. The file of a log is the worker's to name."""
    forged = installation.data / "forged-by-user-code"
    run_id = await installation.begin("forges", {"file": str(forged)})
    ended = await installation.rest.result(run_id)
    assert ended["status"] == "completed", ended
    assert not forged.exists()
    lines = await installation.attempt_log(run_id)
    assert any("an honest line" in line["message"] for line in lines), "the log was diverted, or ended"
    await installation.still_works()


@pytest.mark.kinds("plain-open")  # The walls of the others do not matter here.
@pytest.mark.parametrize("message", LIES)
async def test_a_forged_message_ends_nothing_but_its_own_attempt(installation: Installation, message: str) -> None:
    ended = await installation.run("lies", {"message": message}, requestTimeout=20)
    assert ended["status"] in {"completed", "failed"}, ended
    assert "internal" not in str(ended), ended
    await installation.still_works()
    assert "Traceback" not in installation.log("worker")
