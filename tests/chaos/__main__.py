"""Run chaos, check what was seen, and print a report. The exit code is 1 if a promise was broken."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from tests.chaos.checker import check
from tests.chaos.course import Course, execute
from tests.chaos.record import Record
from tests.chaos.report import write_report


def main() -> None:
    """Read the options, and do all of it."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=None, help="repeats the faults and deploys of another run")
    parser.add_argument("--clients", type=int, default=24, help="Runs without logins under way at the same time")
    parser.add_argument("--every", type=float, default=10, help="mean number of seconds between two faults")
    parser.add_argument("--check", type=Path, help="only check this record of an earlier run")
    given = parser.parse_args()
    if given.check is not None:
        sys.exit(_judge(Record.model_validate_json(given.check.read_text())))
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    course = Course(seed, seconds=60 * given.minutes, fault_every=given.every, clients=given.clients)
    folder = Path(tempfile.mkdtemp(prefix="callboard-chaos-"))
    print(f"Seed {seed}, {given.minutes:g} minutes, in {folder}", flush=True)
    record = asyncio.run(execute(course, folder, _print), loop_factory=uvloop.new_event_loop)
    (folder / "record.json").write_text(record.model_dump_json())
    broken = _judge(record)
    if broken:
        print(f"What was seen is in {folder}/record.json, and the logs of all parts are in {folder}/installation/logs.")
    else:
        shutil.rmtree(folder)
    sys.exit(broken)


def _judge(record: Record) -> int:
    violations = check(record)
    print(write_report(record, violations), flush=True)
    return int(any(violations.values()))


def _print(line: str) -> None:
    print(time.strftime("%H:%M:%S"), line, flush=True)


if __name__ == "__main__":
    main()
