"""Files that an Attempt leaves harm nobody who collects, stores or reads them, and lead to nothing but themselves."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.system.attacks.installation import Installation

SECRET = "what only the operator may read"


async def _litter(installation: Installation, **parameters: Any) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The Attempt of a Run that leaves such files, and all that is given out of them, by name.

    The links among them lead to a file of the operator.
    """
    victim = installation.folder / "operators" / "secret.txt"
    victim.parent.mkdir(exist_ok=True)
    victim.write_text(SECRET)
    litter = {"victim": str(victim), **parameters}
    run = await installation.run("litters", litter, retry={"maximumAttempts": 1}, requestTimeout=30)
    place = f"runs/{run['runId']}/attempts/1"
    attempt = (await installation.rest.request("GET", place, project="attacker")).json()
    files: dict[str, bytes] = {}
    for file in attempt["files"]:
        answer = await installation.rest.request("GET", f"{place}/files/{quote(file['name'])}", project="attacker")
        assert answer.status_code == 200
        assert answer.headers["content-disposition"].startswith("attachment;")
        assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
        files[file["name"]] = answer.content
    return attempt, files


@pytest.mark.parametrize("spins", [False, True])
async def test_what_is_no_file_of_its_own_is_named_and_given_to_nobody(installation: Installation, spins: bool) -> None:
    attempt, files = await _litter(installation, spins=spins)
    assert attempt["status"] == ("failed" if spins else "completed"), attempt
    shown = {".._.._up.txt", "bell__[31m.txt", "_.bin", ".tmp-x", "page.html", "picture.svg"}
    assert shown <= files.keys() <= shown | {"..a", "closed"}
    assert not [name for name, content in files.items() if SECRET.encode() in content]
    missing = attempt["missing"]["files"]
    for name in ("link", "linked-folder", "pipe", "socket", "sparse: it is larger", "more than 32 folders deep"):
        assert name in missing
    await installation.still_works()


async def test_a_link_in_place_of_the_folder_leads_nowhere(installation: Installation) -> None:
    attempt, files = await _litter(installation, replaces=True)
    assert (attempt["status"], files) == ("completed", {})
    assert attempt["missing"]["files"] == "output is no folder, so nothing of it is kept."


@pytest.mark.kinds("plain-open")
async def test_ten_thousand_files_cost_no_more_than_a_hundred(installation: Installation) -> None:
    attempt, files = await _litter(installation, many=12_000)
    assert len(files) in (99, 100), "one of them can be read by its owner only if that is root"
    assert "of an Attempt, 10,000 files and folders are looked at." in attempt["missing"]["files"]
    await installation.still_works()
