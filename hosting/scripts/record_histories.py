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
from tests.support.activity_shapes import ACTIVITY_SHAPES, play  # noqa: E402
from tests.support.alert_stage import ALERTS  # noqa: E402
from tests.support.auth_shapes import LOGIN_SHAPES, histories, login_histories, played_login  # noqa: E402
from tests.support.delivery_stage import DELIVERIES  # noqa: E402
from tests.support.deploy_shapes import DEPLOYS, played_deploy  # noqa: E402
from tests.support.fleet_stage import FLEETS  # noqa: E402
from tests.support.inbox_stage import INBOXES, SKIPPING_INBOXES  # noqa: E402
from tests.support.job_run_shapes import JOB_RUNS, played_job_run  # noqa: E402
from tests.support.run_shapes import SHAPES, played  # noqa: E402
from tests.support.temporal_servers import dev_client, dev_server, skipping_client  # noqa: E402

HISTORIES = REPOSITORY / "tests" / "histories"


async def record(shapes: list[str], folder: Path) -> None:
    """Play these shapes and write their histories into `folder`."""
    with_handle = {**SKIPPING_INBOXES, **ALERTS}
    skip_time = {*FLEETS, *ACTIVITY_SHAPES, *DEPLOYS, *with_handle}
    skipping = [shape for shape in shapes if shape in skip_time]
    if skipping:
        async with skipping_client() as client:
            for shape in skipping:
                if shape in DEPLOYS:
                    write(folder, shape, (await played_deploy(client, shape)).first)
                    continue
                if shape in with_handle:
                    write(folder, shape, await (await with_handle[shape](client)).handle.fetch_history())
                    continue
                of_fleet = FLEETS.get(shape)
                write(folder, shape, (await play(client, shape)).first if of_fleet is None else await of_fleet(client))
    shapes = [shape for shape in shapes if shape not in skipping]
    if not shapes:
        return
    with tempfile.TemporaryDirectory() as data:
        async with dev_server(Path(data)) as server:
            client = await dev_client(server)
            for shape in (shape for shape in shapes if shape in LOGIN_SHAPES):
                async with played_login(shape, client, shape) as login_stage:
                    for name, history in (await histories(shape, login_stage)).items():
                        write(folder, name, history)
            for shape in (shape for shape in shapes if shape in DELIVERIES):
                write(folder, shape, await (await DELIVERIES[shape](client, shape)).handle.fetch_history())
            for shape in (shape for shape in shapes if shape in INBOXES):
                write(folder, shape, await (await INBOXES[shape](client)).handle.fetch_history())
            for shape in (shape for shape in shapes if shape in JOB_RUNS):
                write(folder, shape, await played_job_run(client, shape))
            for shape in (shape for shape in shapes if shape in SHAPES):
                async with played(shape, client, shape) as stage:
                    write(folder, shape, await stage.handle.fetch_history())


def write(folder: Path, shape: str, history: WorkflowHistory) -> None:
    """Write the history to a file, without what is specific to this machine."""
    (folder / f"{shape}.json").write_text(json.dumps(without_stacks(json.loads(history.to_json())), indent=1) + "\n")
    print(f"{shape}: {len(history.events)} events")


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
    skipping = (*FLEETS, *ACTIVITY_SHAPES, *DEPLOYS, *SKIPPING_INBOXES, *ALERTS)
    plain = (*SHAPES, *DELIVERIES, *JOB_RUNS, *INBOXES, *skipping)
    known = {**{shape: [shape] for shape in plain}, **login_histories()}
    unknown = [shape for shape in wanted if shape not in known]
    if unknown:
        sys.exit(f"There is no shape {', '.join(unknown)}. There are: {', '.join(known)}.")
    there = {path.stem for path in HISTORIES.glob("*.json")}
    shapes = wanted or [shape for shape, names in known.items() if not there.issuperset(names)]
    if not shapes:
        print("Every shape has its history. Name those that are to be recorded anew.")
        return
    logging.disable(logging.WARNING)  # Failing Attempts are part of the script.
    asyncio.run(record(shapes, HISTORIES))


if __name__ == "__main__":
    main(sys.argv[1:])
