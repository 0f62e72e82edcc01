"""What an Attempt does to its folders neither reaches the next Attempt, nor leads a clean-up astray."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.attacks.installation import Installation

WAYS = (
    *(
        "set_back",
        "compiled",
        "hard_link",
        "link_files",
        "link_workspace",
        "link_scratch",
        "deep",
        "locked",
        "odd",
        "many",
    ),
    "mounted",
)


@pytest.fixture
def outside(installation: Installation) -> Iterator[Path]:
    """A folder of the host's, to which links of user code lead."""
    with tempfile.TemporaryDirectory(prefix="outside-", dir=installation.folder) as made:
        folder = Path(made)
        folder.chmod(0o777)
        (folder / "folder").mkdir(mode=0o777)
        for file in (folder / "keep.txt", folder / "folder" / "keep.txt"):
            file.write_text("kept")
            file.chmod(0o666)
        yield folder


def contents(folder: Path) -> dict[str, tuple[str | None, int]]:
    return {
        str(path.relative_to(folder)): (path.read_text() if path.is_file() else None, path.stat().st_mode)
        for path in (folder, *folder.rglob("*"))
    }


@pytest.mark.kinds("plain-open", "root-full")  # Folders do not know the network.
@pytest.mark.parametrize("way", WAYS)
async def test_a_poisoned_workspace_poisons_nothing(installation: Installation, outside: Path, way: str) -> None:
    clean, before = await installation.attack("whole"), contents(outside)
    assert clean["project"]["api/fine.py"] != "folder"
    assert clean["links"] == []
    ended = await installation.run("poisons", {"way": way, "outside": str(outside)})
    assert ended["status"] in {"completed", "failed"}, ended
    assert await installation.attack("whole") == clean
    assert contents(outside) == before
    assert len(installation.machines("attacker")) == 1, "scratch folders of earlier Machines are left"
