"""`callboard deliveries …`: the Deliveries of a Run, of its result and of its Handoffs, and sending one again."""

from __future__ import annotations

from typing import Annotated

import typer

from callboard.cli.api_client import ApiClient, quote_segment
from callboard.cli.options import AsJson
from callboard.cli.output import print_json
from callboard.cli.render import print_deliveries
from callboard.cli.with_api import with_project
from callboard.schemas.errors import NotFound
from callboard.schemas.workflow.names import SINK_DELIVERY

app = typer.Typer(help="List Deliveries of results, and send them again.", no_args_is_help=True, add_completion=False)

RunId = Annotated[str, typer.Argument(metavar="RUN_ID")]


@app.command("list")
@with_project
def list_deliveries(target: ApiClient, run_id: RunId, as_json: AsJson = False) -> None:
    """List the Deliveries of a Run.

    The result of a Run has none without a sink, and before the Run has ended. A Handoff has one if the project has a
    webhook for them.
    """
    answer = target.request("GET", f"runs/{quote_segment(run_id)}/deliveries")
    print_json(answer) if as_json else print_deliveries(answer["deliveries"])


@app.command()
@with_project
def redeliver(
    target: ApiClient,
    run_id: RunId,
    delivery_id: Annotated[
        str | None, typer.Argument(metavar="DELIVERY_ID", help="Default: that of the result.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send a result again, now."""
    place = f"runs/{quote_segment(run_id)}/deliveries"
    which = delivery_id or _of_result(target, run_id, place)
    delivery = target.request("POST", f"{place}/{quote_segment(which)}/redeliver")
    print_json(delivery) if as_json else print_deliveries([delivery])


def _of_result(target: ApiClient, run_id: str, place: str) -> str:
    known = [each["id"] for each in target.request("GET", place)["deliveries"]]
    if SINK_DELIVERY not in known:
        raise NotFound(f"Run {run_id} has no Delivery of its result: it has not ended yet, or has no sink.")
    return SINK_DELIVERY
