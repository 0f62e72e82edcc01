import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from callboard.dev import data_folder
from callboard.dev.data_folder import lock_data_folder
from callboard.schemas.errors import StackError
from tests.support.present import present
from tests.support.repository import REPOSITORY

HOLDER = """
import sys
from pathlib import Path
from callboard.dev import data_folder
with data_folder.lock_data_folder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_second_owner_is_refused_and_told_the_first_ones_process(tmp_path: Path):
    data, told = tmp_path / "data", rf"in use by another `callboard dev` \(process {os.getpid()}\)"
    for _ in range(2):  # it is free again after its owner has left
        with lock_data_folder(data), pytest.raises(StackError, match=told), lock_data_folder(data):
            pass


def test_it_is_free_again_after_its_owner_was_killed(tmp_path: Path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY
    ) as holder:
        assert present(holder.stdout).readline() == b"held\n"
        with pytest.raises(StackError, match=str(holder.pid)), lock_data_folder(tmp_path):
            pass
        holder.kill()
        holder.wait(10)
        with lock_data_folder(tmp_path):
            pass


def test_what_lies_in_a_folder_of_the_users_is_their_own_alone(tmp_path: Path):
    tmp_path.chmod(0o755)
    (tmp_path / "temporal.db").touch(0o644)
    (tmp_path / "logs").mkdir(0o755)
    umask = os.umask(0o022)
    try:
        with lock_data_folder(tmp_path):
            subprocess.run(["touch", tmp_path / "by-a-child"], check=True)
        (tmp_path / "later").touch()
    finally:
        os.umask(umask)
    modes = {path.name: mode(path) for path in tmp_path.iterdir()}
    assert modes == {"temporal.db": 0o600, "logs": 0o700, "by-a-child": 0o600, "lock": 0o600, "later": 0o644}
    assert mode(tmp_path) == 0o755, "it may hold more than Callboard's data"


def test_a_folder_that_cannot_be_made_is_told_with_its_reason(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StackError, match=r"cannot be used.*--data"),
        lock_data_folder(tmp_path / "file" / "data"),
    ):
        pass


def test_a_secret_is_kept_in_a_file_that_only_its_owner_can_read(tmp_path: Path):
    secret = data_folder.new_secret("cb_")
    assert secret.startswith("cb_")
    assert len(secret) >= 40
    assert data_folder.new_secret("cb_") != secret
    data_folder.write_private_file(tmp_path / "api-key", secret + "\n")
    assert mode(tmp_path / "api-key") == 0o600
    assert data_folder.read_secret(tmp_path / "api-key") == secret
    (tmp_path / "api-key").write_text("\n")
    assert [data_folder.read_secret(tmp_path / name) for name in ("api-key", "nowhere")] == [None, None]


def test_the_address_card_is_private_and_gone_afterwards(tmp_path: Path):
    with data_folder.connection_file(tmp_path, {"url": "http://127.0.0.1:1", "pid": 7}):
        card = tmp_path / "dev.json"
        assert mode(card) == 0o600
        assert json.loads(card.read_text()) == {"url": "http://127.0.0.1:1", "pid": 7}
    assert list(tmp_path.iterdir()) == []


def test_a_new_folder_is_of_this_format_from_then_on(tmp_path: Path):
    data_folder.ensure_format(tmp_path)
    (tmp_path / "temporal.db").touch()
    data_folder.ensure_format(tmp_path)
    assert (tmp_path / "format").read_text() == f"{data_folder.FORMAT}\n"


@pytest.mark.parametrize("written", [None, "99"])
def test_a_folder_of_another_format_is_refused_and_left_as_it_is(tmp_path: Path, written: str | None):
    (tmp_path / "temporal.db").write_text("Runs of before")
    if written is not None:
        (tmp_path / "format").write_text(f"{written}\n")
    with pytest.raises(StackError, match=rf"its format is {written or 'unknown'}, not .*Move the folder away.*--data"):
        data_folder.ensure_format(tmp_path)
    assert (tmp_path / "format").exists() is (written is not None)
    assert (tmp_path / "temporal.db").read_text() == "Runs of before"
