"""Records the history of every shape that the workflows can take, as `tests/support/` plays them.

    python hosting/scripts/record_histories.py              # record the shapes that have none, as `make histories` does
    python hosting/scripts/record_histories.py retry wall   # record these shapes again

An existing history shows what a Run in flight may look like, and must keep replaying. It is recorded again only when no
Run of its kind can be in flight any more. Workflows and servers are the real ones; the Attempts play a script.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any, cast

from temporalio.client import WorkflowHistory

REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY))

# These modules are found because of the line above.
from tests.support.shapes import SHAPES, Server, histories_of, record  # noqa: E402
from tests.support.temporal_servers import dev_client, dev_server, skipping_client  # noqa: E402

HISTORIES = REPOSITORY / "tests" / "histories"


async def record_all(shapes: list[str], folder: Path) -> None:
    """Play these shapes and write their histories into `folder`."""
    with tempfile.TemporaryDirectory() as data:
        async with dev_server(Path(data)) as server, skipping_client() as skipping:
            client = await dev_client(server)
            for shape in shapes:
                skips = SHAPES[shape].server is Server.SKIPPING
                for name, history in (await record(shape, skipping if skips else client)).items():
                    write(folder, name, history)


def write(folder: Path, name: str, history: WorkflowHistory) -> None:
    """Write the history to a file, without what is specific to this machine."""
    (folder / f"{name}.json").write_text(json.dumps(without_stacks(json.loads(history.to_json())), indent=1) + "\n")
    print(f"{name}: {len(history.events)} events")


def without_stacks(history: Any) -> Any:
    """Return the history without stack traces, which name files of this machine and which no replay reads."""
    if isinstance(history, dict):
        items = cast("dict[str, Any]", history)
        return {name: without_stacks(value) for name, value in items.items() if name != "stackTrace"}
    if isinstance(history, list):
        return [without_stacks(value) for value in cast("list[Any]", history)]
    return history


def main(wanted: list[str]) -> None:
    """Record the wanted shapes; see the module's docstring."""
    unknown = [shape for shape in wanted if shape not in SHAPES]
    if unknown:
        sys.exit(f"There is no shape {', '.join(unknown)}. There are: {', '.join(SHAPES)}.")
    there = {path.stem for path in HISTORIES.glob("*.json")}
    shapes = wanted or [shape for shape in SHAPES if not there.issuperset(histories_of(shape))]
    if not shapes:
        print("Every shape has its history. Name those that are to be recorded anew.")
        return
    logging.disable(logging.WARNING)  # Failing Attempts are part of the script.
    asyncio.run(record_all(shapes, HISTORIES))


if __name__ == "__main__":
    main(sys.argv[1:])
