"""What user code finds in its environment: of the worker, and of the project's `.env`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = ["ONE", "TWO", "TZ", "HOME", "TMPDIR", "CALLBOARD_SECRET_KEY"]


@pytest.fixture
def dotenv(stack: Any) -> Iterator[Path]:
    """The `.env` of project `lab`."""
    path = stack.dev.settings.dev_projects / "lab" / ".env"
    yield path
    path.unlink(missing_ok=True)


async def found(stack: Any) -> dict[str, Any]:
    answer = await stack.run("variables", {"names": NAMES})
    assert "result" in answer, answer
    return answer["result"]


async def test_a_change_of_the_env_file_takes_effect_with_the_next_attempt(stack: Any, dotenv: Path) -> None:
    first = await found(stack)
    dotenv.write_text("ONE=1\nTWO=${CALLBOARD_SECRET_KEY}\nTZ=Asia/Tokyo\nHOME=/\nTMPDIR=/\n")
    second = await found(stack)
    dotenv.write_text("ONE=2\n")
    third = await found(stack)
    dotenv.unlink()
    assert (await found(stack)).keys() == first.keys()
    assert (first["ONE"], second["ONE"], third["ONE"]) == (None, "1", "2")
    assert (second["TWO"], second["TZ"]) == ("${CALLBOARD_SECRET_KEY}", "Asia/Tokyo")
    assert str(stack.data) in second["HOME"]
    assert str(stack.data) in second["TMPDIR"]
    assert {one["CALLBOARD_SECRET_KEY"] for one in (first, second, third)} == {None}


async def test_an_env_file_that_cannot_be_read_fails_the_attempt_and_says_so(stack: Any, dotenv: Path) -> None:
    dotenv.write_bytes(b"ONE=\xff")
    answer = await stack.run("variables", {"names": NAMES}, retry={"maximumAttempts": 1})
    assert answer["status"] == "failed"
    assert ".env cannot be read" in answer["error"]["details"]["last_error"]["message"]


async def test_the_env_file_is_in_no_version(stack: Any, dotenv: Path) -> None:
    dotenv.write_text("ONE=a-secret-of-no-worth\n")
    await found(stack)
    assert not list((stack.data / "versions").rglob(".env*"))
