"""A PostgreSQL server for tests, of the host's own programs: on loopback, in a folder that goes at the end."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from callboard.dev import ports
from tests.support import unprivileged_user

_NEWEST_FIRST = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
"""Where Debian has the programs of the server, which are not in PATH."""


@dataclass(frozen=True)
class PostgresServer:
    """A running server whose superuser is `temporal`, as that of docker-compose.yml."""

    programs: Path
    environment: dict[str, str]
    """What its client programs need in their environment."""

    def sql(self, database: str, text: str) -> str:
        """Return what a statement answers, in lines without decoration."""
        command = [self.programs / "psql", "--no-psqlrc", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]
        done = subprocess.run(
            [*command, f"--dbname={database}", f"--command={text}"],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def programs() -> Path:
    """Return where the programs of PostgreSQL are; the test is skipped where there are none."""
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else _NEWEST_FIRST
    if not places:
        pytest.skip("PostgreSQL's server is not installed (Debian: postgresql).")
    return places[0]


@contextmanager
def postgres_server() -> Generator[PostgresServer]:
    """A new server, for as long as the block lasts. PostgreSQL refuses to run as root, so an ordinary user runs it."""
    place = programs()
    port = ports.choose_ports({"port": 0})["port"]
    with unprivileged_user.folder() as folder:
        as_user = unprivileged_user.options()
        data = folder / "data"
        subprocess.run(
            [place / "initdb", "--auth=trust", "--username=temporal", "--no-sync", f"--pgdata={data}"],
            **as_user,
            check=True,
            capture_output=True,
            timeout=120,
        )
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories= -c fsync=off"
        control = [place / "pg_ctl", f"--pgdata={data}", "--wait", f"--log={folder / 'log'}"]
        subprocess.run([*control, f"--options={options}", "start"], **as_user, check=True, stdout=-3, timeout=120)
        try:
            yield PostgresServer(
                place,
                {
                    "PATH": os.environ["PATH"],
                    "PGHOST": "127.0.0.1",
                    "PGPORT": str(port),
                    "PGUSER": "temporal",
                },
            )
        finally:
            subprocess.run([*control, "--mode=immediate", "stop"], **as_user, check=True, stdout=-3, timeout=120)
