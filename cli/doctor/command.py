"""The `callboard doctor` command, which runs all checks, shows their findings, and exits with 0 if none failed."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.doctor import host, keys
from cli.doctor.findings import Finding, Status, skipped
from cli.doctor.fleet import FLEET_CHECKS, check_fleet
from cli.doctor.order import check_order
from cli.doctor.store import check_artifact_store
from cli.doctor.target import Installation, find_installation
from cli.doctor.temporal import check_temporal
from cli.doctor.workers import check_builds, check_workers
from settings import Settings

_SERVING = ("Workers", "Builds of workers", *FLEET_CHECKS, "Order of Runs")
"""Checks that need Temporal."""
_MARKS = {
    Status.OK: Text("✓", style="green"),
    Status.WARNING: Text("!", style="bold yellow"),
    Status.FAILED: Text("✗", style="bold red"),
    Status.SKIPPED: Text("-", style="dim"),
}


class Part(StrEnum):
    """A part of an installation."""

    API = "api"
    WORKER = "worker"


def doctor(
    part: Annotated[Part | None, typer.Option(help="Check only what this part needs. Default: both.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Data folder. Default: CALLBOARD_DATA_DIR, else ~/.local/share/callboard.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check the installation and suggest fixes.

    The checks use the settings of the environment, as `callboard api` and `callboard worker` would, or those of the
    `callboard dev` that runs on the data folder. The exit code is 1 if a check failed.
    """
    place = find_installation(data)
    findings = asyncio.run(_run_checks(place, part))
    well = all(finding.status is not Status.FAILED for finding in findings)
    if as_json:
        checks = [dataclasses.asdict(finding) for finding in findings]
        typer.echo(json.dumps({"ok": well, "checks": checks}, indent=2))
    else:
        _print_findings(findings, place)
    if not well:
        raise typer.Exit(1)


async def _run_checks(place: Installation, part: Part | None) -> list[Finding]:
    settings = place.settings
    on_host, found, (store, opened) = await asyncio.gather(
        asyncio.gather(host.check_python(), *_checks_of_workers(settings, part)),
        check_temporal(settings),
        check_artifact_store(settings),
    )
    keyed = [
        skipped("API keys", "Workers do not need them.") if part is Part.WORKER else keys.check_api_keys(settings),
        keys.check_secret_key(settings),
        await _not_needed("Webhook secrets") if part is Part.API else keys.check_webhook_secrets(settings),
    ]
    if found.client is None:
        serving = [skipped(check, "Temporal is not available.") for check in _SERVING]
    else:
        workers, builds, fleet, order = await asyncio.gather(
            check_workers(found.client),
            check_builds(found.client),
            check_fleet(found.client, opened, place),
            check_order(found.client, opened),
        )
        serving = [workers, builds, *fleet, order]
    return [*on_host, *found.findings, store, *keyed, *serving]


def _checks_of_workers(settings: Settings, part: Part | None) -> Iterator[Awaitable[Finding]]:
    checks = {
        "Browser": host.check_browser,
        "Browser sandbox": host.check_sandbox,
        "Isolation": host.check_isolation,
    }
    for name, check in checks.items():
        yield _not_needed(name) if part is Part.API else check(settings)
    yield _not_needed("uv") if part is Part.API else host.check_uv()


async def _not_needed(check: str) -> Finding:
    return skipped(check, "Only workers need this.")


def _print_findings(findings: list[Finding], place: Installation) -> None:
    console = Console()
    if not console.is_terminal:
        for finding in findings:
            typer.echo(f"{finding.status:8} {finding.check}: {finding.message}")
            if finding.fix is not None:
                typer.echo(f"{'':8} -> {finding.fix}")
        typer.echo(_summarize(findings, place))
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in findings:
        said = Text(finding.message)
        if finding.fix is not None:
            said.append(f"\n→ {finding.fix}", style="bold")
        table.add_row(_MARKS[finding.status], Text(finding.check), said)
    console.print(table)
    console.print(Text(_summarize(findings, place), style="bold"))


def _summarize(findings: list[Finding], place: Installation) -> str:
    what = f"`callboard dev` on {place.settings.data_dir}" if place.dev else "the settings of the environment"
    failed = sum(finding.status is Status.FAILED for finding in findings)
    warnings = sum(finding.status is Status.WARNING for finding in findings)
    counts = (
        f"{failed} of {len(findings)} checks failed"
        if failed
        else f"no check failed{f', {warnings} warning(s)' if warnings else ''}"
    )
    return f"Checked {what}: {counts}. {place.hint}".rstrip()
