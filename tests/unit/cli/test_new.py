"""`callboard new`, as a user types it."""

from pathlib import Path

import pytest

from tests.support.commands import callboard, error_of
from tests.support.processes import callboard_process


@pytest.mark.parametrize(
    ("options", "folder", "served"),
    [([], "greeter", "."), (["--in", "my projects"], "my projects/greeter", "'my projects'")],
)
def test_it_says_what_it_made_and_how_to_run_it(tmp_path: Path, options: list[str], folder: str, served: str):
    (tmp_path / "my projects").mkdir()
    done = callboard_process("new", "greeter", *options, cwd=tmp_path, COLUMNS="500")
    assert (done.returncode, done.stderr) == (0, "")
    made = [line.strip() for line in done.stdout.splitlines() if line.startswith(f"  {folder}/")]
    assert sorted(made) == sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert f"{folder}/README.md says how to run and test it." in done.stdout
    assert f"callboard dev {served} serves it" in done.stdout


def test_it_overwrites_nothing(tmp_path: Path):
    assert callboard("new", "greeter", "--in", tmp_path).exit_code == 0
    changed = tmp_path / "greeter" / "Intuned.jsonc"
    changed.write_text("{}")
    told = f"{tmp_path / 'greeter'} already exists and was left unchanged. Choose another name, or remove it."
    assert error_of(callboard("new", "greeter", "--in", tmp_path)) == (1, told)
    assert changed.read_text() == "{}"


@pytest.mark.parametrize("name", ["Greeter", "a b", "../up", "a/b", ".", "123e4567-e89b-12d3-a456-426614174000"])
def test_a_name_that_no_project_can_have_is_a_usage_error_with_the_rule(tmp_path: Path, name: str):
    done = callboard("new", name, "--in", tmp_path)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "is not a valid project name. Use lower-case letters and digits" in done.stderr
    assert list(tmp_path.iterdir()) == []
