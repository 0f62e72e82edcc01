"""hosting/scripts/pin-images.sh writes what registries name, and else changes nothing. No registry is asked."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import doc_commands
from tests.support.repository import REPOSITORY

(COMMAND,) = doc_commands.typed("docs/install.md", "Images by their digests")
DIGEST = "sha256:" + "0123456789abcdef" * 4
DOCKER = f"""#!/bin/bash
[ "$1 $2 $3" = "buildx imagetools inspect" ] && [ "$5" = --format ] && [ "$6" = '{{{{.Manifest.Digest}}}}' ] || exit 64
case "$4" in
    "$UNKNOWN") echo "ERROR: $4: not found" >&2; exit 1 ;;
    "$NONSENSE") echo "Name: $4" ;;
    *) echo {DIGEST} ;;
esac
"""
ENV = "CALLBOARD_API_KEYS=a-key\nTEMPORAL_DIGEST=@sha256:old\n# a remark\nPOSTGRES_PASSWORD=x"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as the repository is, with a stand-in for docker."""
    (tmp_path / "hosting").mkdir()
    for name in ("docker-compose.yml", "hosting/docker-compose.tls.yml", "hosting/Dockerfile"):
        shutil.copy(REPOSITORY / name, tmp_path / name)
    (tmp_path / ".env").write_text(ENV)
    (tmp_path / ".env").chmod(0o600)
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(DOCKER)
    program.chmod(0o755)
    return tmp_path


def pin(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "UNKNOWN": "", "NONSENSE": "", **environment}
    command = ["bash", "-c", f"{COMMAND.text.strip()} {folder}"]
    return subprocess.run(command, cwd=REPOSITORY, env=given, capture_output=True, text=True, timeout=60)


def test_every_image_of_the_compose_files_gets_its_digest(folder: Path):
    for _ in range(2):  # again, it replaces what it has written
        done = pin(folder)
        assert done.returncode == 0, done.stderr
        assert f"temporalio/server:1.32.0 is {DIGEST}" in done.stdout
        written = (folder / ".env").read_text()
        assert written.startswith("CALLBOARD_API_KEYS=a-key\n# a remark\nPOSTGRES_PASSWORD=x\n")
        text = "".join((folder / name).read_text() for name in ("docker-compose.yml", "hosting/docker-compose.tls.yml"))
        used = set(re.findall(r"\$\{(\w+_DIGEST):-\}", text))
        assert used == set(re.findall(rf"^(\w+_DIGEST)=@{DIGEST}$", written, flags=re.MULTILINE))
        assert written.count("_DIGEST=") == len(used) == 9
    assert (folder / ".env").stat().st_mode & 0o777 == 0o600, "it holds secrets"


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({"UNKNOWN": "postgres:16"}, "the digest of postgres:16 cannot be found"),
        ({"NONSENSE": "rclone/rclone:1.75.2"}, "docker named 'Name: rclone/rclone:1.75.2' as the digest of"),
    ],
)
def test_nothing_changes_when_an_image_has_no_digest(folder: Path, answers: dict[str, str], reason: str):
    done = pin(folder, **answers)
    assert done.returncode == 1
    assert reason in done.stderr
    assert (folder / ".env").read_text() == ENV
    assert not list(folder.glob(".env.*"))


def test_it_says_what_is_missing(folder: Path):
    (folder / ".env").unlink()
    done = pin(folder)
    assert (done.returncode, "there is no file .env" in done.stderr) == (1, True)
