"""What docs/backup.md shows for Compose is typed, with PostgreSQL and rclone themselves and without containers.

A small program stands in for `docker`: it executes what the services `postgres` and `bucket` are asked to, on a
PostgreSQL server of this host and on a folder, and notes the rest. The databases hold rows of ours, not Temporal's
schema: the Temporal server that speaks PostgreSQL comes only as an image.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.support import doc_commands
from tests.support.postgres_server import PostgresServer, postgres_server
from tests.support.repository import REPOSITORY

SAVE, RESTORE = doc_commands.typed("docs/backup.md", "Compose")
SERVICES: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]
PROGRAMS = Path(sys.executable).parent
DOCKER = """#!/bin/bash
set -euo pipefail
echo "$*" >> "$NOTES"
case "$*" in
    "compose exec -T postgres "*) exec "$PROGRAMS_OF_POSTGRES/$5" "${@:6}" ;;
    "compose run --rm --no-deps --volume "*" bucket "*)
        backup=${6%%:*}
        cd "$(dirname "$NOTES")"
        exec rclone --config /dev/null "$8" "${9/#\\/backup/$backup}" "${10/#\\/backup/$backup}" ;;
    "compose up --detach"*) ;;
    *) echo "No such command is expected: $*" >&2; exit 2 ;;
esac
"""


def docker(folder: Path) -> Path:
    """The stand-in for docker, whose services' folder /data is `folder / data`."""
    program = folder / "programs" / "docker"
    program.parent.mkdir()
    program.write_text(DOCKER)
    program.chmod(0o755)
    return program


def script(text: str, server: PostgresServer, folder: Path) -> list[str]:
    """Type it in this folder, and return what docker was asked."""
    notes = folder / "notes"
    notes.unlink(missing_ok=True)
    program = folder / "programs" / "docker"
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", text.replace(" /data", f" {folder / 'data'}")],
        cwd=folder,
        env=server.environment
        | {
            "PATH": f"{program.parent}:{PROGRAMS}:{os.environ['PATH']}",
            "HOME": str(folder),
            "NOTES": str(notes),
            "PROGRAMS_OF_POSTGRES": str(server.programs),
        },
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return notes.read_text().splitlines()


def test_restores_databases_and_store_over_later_changes(tmp_path: Path) -> None:
    docker(tmp_path)
    artifacts = tmp_path / "data" / "callboard"
    (artifacts / "runs").mkdir(parents=True)
    (artifacts / "runs" / "result.json").write_text('"before"')
    (tmp_path / ".env").write_text("POSTGRES_PASSWORD=x\n")
    (tmp_path / "docker-compose.yml").write_text("{}\n")
    with postgres_server() as server:
        for database in ("temporal", "temporal_visibility"):
            server.sql("postgres", f"CREATE DATABASE {database}")
            server.sql(database, "CREATE TABLE executions (run_id text PRIMARY KEY, state bytea)")
            server.sql(database, f"INSERT INTO executions VALUES ('of {database}', '\\x00ff')")
        asked = script(SAVE.text, server, tmp_path)
        saved = [line for line in asked if "pg_dump" in line or " bucket " in line]
        assert ["bucket" in line for line in saved] == [True, False, False, True], "the store comes last, too"
        assert saved[1].endswith(" temporal")
        assert saved[2].endswith(" temporal_visibility")

        # One database goes on, the other is lost with its host; the store has lost something, and got something.
        server.sql("temporal", "INSERT INTO executions VALUES ('later', '')")
        server.sql("postgres", "DROP DATABASE temporal_visibility")
        (artifacts / "runs" / "result.json").unlink()
        (artifacts / "runs" / "later.json").write_text("{}")
        asked = script(RESTORE.text, server, tmp_path)
        assert asked[0] == "compose up --detach --wait postgres"
        assert asked[-1] == "compose up --detach"
        for database in ("temporal", "temporal_visibility"):
            rows = server.sql(database, "SELECT run_id, encode(state, 'hex') FROM executions")
            assert rows == f"of {database}|00ff"
    assert [path.name for path in (artifacts / "runs").iterdir()] == ["result.json"]
    assert (artifacts / "runs" / "result.json").read_text() == '"before"'


def test_the_services_and_databases_are_those_of_the_compose_file() -> None:
    assert SERVICES["bucket"]["image"].startswith("rclone/rclone:")
    assert SERVICES["bucket"]["volumes"] == ["artifacts:/data"]
    schema = "".join(SERVICES["schema"]["command"])
    assert "temporal:temporal temporal_visibility:visibility" in schema
    assert SERVICES["postgres"]["environment"]["POSTGRES_USER"] == "temporal"
