"""The `callboard doctor` command, which runs all checks, shows their findings, and exits with 0 if none failed."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from callboard.cli.doctor import host, keys
from callboard.cli.doctor.builds import check_builds
from callboard.cli.doctor.findings import Finding, Status
from callboard.cli.doctor.fleet import check_fleet
from callboard.cli.doctor.live import check_live_view
from callboard.cli.doctor.store import check_artifact_store
from callboard.cli.doctor.target import Installation, find_installation
from callboard.cli.doctor.temporal import check_temporal, check_workers
from callboard.cli.options import AsJson, DataFolder
from callboard.settings import Settings

_MARKS = {
    Status.OK: Text("✓", style="green"),
    Status.WARNING: Text("!", style="bold yellow"),
    Status.FAILED: Text("✗", style="bold red"),
}


def doctor(
    part: Annotated[
        Literal["api", "worker"] | None, typer.Option(help="Check only what this part needs. Default: both.")
    ] = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Check the installation and suggest fixes.

    The checks use the settings of the environment, as `callboard api` and `callboard worker` would, or those of the
    `callboard dev` that runs on the data folder. A check that needs what another one has not found is left out. The
    exit code is 1 if a check failed.
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


async def _run_checks(place: Installation, part: str | None) -> list[Finding]:
    settings = place.settings
    on_host, (of_temporal, client), of_store = await asyncio.gather(
        _check_host(settings, part), check_temporal(settings), check_artifact_store(settings)
    )
    findings = [*on_host, *of_temporal, of_store]
    if part != "worker":
        findings.append(keys.check_api_keys(settings))
    findings.append(keys.check_secret_key(settings))
    if part != "api":
        findings.append(keys.check_webhook_secrets(settings))
    if client is not None:
        findings += [await check_workers(client), await check_builds(client)]
        if part != "worker" and settings.secret_key:
            findings.append(await check_live_view(client, settings))
    return [*findings, *await asyncio.to_thread(check_fleet, place)]


async def _check_host(settings: Settings, part: str | None) -> list[Finding]:
    if part == "api":
        return []
    if settings.role == "control":
        return [await host.check_uv()]
    checks = (host.check_browser(settings), host.check_sandbox(settings), host.check_isolation(settings))
    return list(await asyncio.gather(*checks, host.check_uv(), host.check_typescript()))


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
        message = Text(finding.message)
        if finding.fix is not None:
            message.append(f"\n→ {finding.fix}", style="bold")
        table.add_row(_MARKS[finding.status], Text(finding.check), message)
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
