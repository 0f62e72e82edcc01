"""The banner of `callboard dev` once it runs: where everything is, what is served, and a call to try."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any, cast

from callboard.dev.dev import DevStack
from callboard.dev.publishing import format_broken, format_pending, format_version
from callboard.projects.manifest import Manifest

_PLACEHOLDER = re.compile(r"//[^/]*\.example\b")
"""Part of an address that leads nowhere, as new projects have it until somebody writes theirs."""


def banner(stack: DevStack, *, shows_new_key: bool = True) -> str:
    """Return the lines of the banner. The API key is among them only if it was created at this start.

    Args:
        stack: The stack, which runs.
        shows_new_key: Whether such a key is shown. A log that is collected must not have it.
    """
    text = [
        "",
        f"Pages        {stack.url}",
        f"API          {stack.url}   (documentation: {stack.url}/docs)",
        f"API key      {_describe_key(stack, shows_new_key=shows_new_key)}",
        f"Workspace    {stack.settings.workspace}",
        f"Webhooks     {_describe_webhook_secret(stack)}",
        f"Temporal UI  {stack.temporal.ui_url}",
        f"Traces       http://127.0.0.1:{stack.settings.viewer_listens_on}   (the trace viewer, which pages open)",
        *(
            f"Metrics      http://{address}/metrics   ({service})"
            for service, address in stack.metrics_addresses.items()
        ),
        f"Data         {stack.settings.data_dir}   (logs: {stack.settings.data_dir / 'logs'})",
        "",
    ]
    projects = stack.projects
    for manifest in projects.deployed:
        text.append(f"Project {format_version(manifest)}")
        text += [f"  warning: {warning}" for warning in manifest.warnings]
    text += [format_broken(project) for project in projects.broken]
    text += [format_pending(folder) for folder in projects.pending]
    text += _call_to_try(stack)
    text += ["", "Changes to project folders are published at once. Press Ctrl-C to stop."]
    return "\n".join(text)


def _call_to_try(stack: DevStack) -> list[str]:
    """Return a call of an API with its sample parameters: of one that is likely to complete, if there is any.

    A project that logs in has none, as there may be no AuthSession yet.
    """
    calls: list[tuple[int, Manifest, str, dict[str, Any]]] = []
    for manifest in stack.projects.deployed:
        if manifest.settings.api_access.enabled and not manifest.settings.auth_sessions.enabled:
            folder = stack.projects.folders[manifest.project]
            for api in manifest.apis:
                sample = _sample(folder / ".parameters" / "api" / api)
                doubt = 1 if sample is None else 2 if _PLACEHOLDER.search(json.dumps(sample)) else 0
                calls.append((doubt, manifest, api, sample or {}))
    if not calls:
        return []
    doubt, manifest, api, parameters = min(calls, key=lambda call: call[0])
    title = "Try, with an address of your own:" if doubt > 1 else "Try:"
    return ["", title, example_curl(stack, manifest, api, json.dumps(parameters))]


def _sample(folder: Path) -> dict[str, Any] | None:
    """Return the sample parameters in a folder, `default` first; None if there are none."""
    for file in sorted(folder.glob("*.json"), key=lambda file: (file.stem != "default", file.name)):
        try:
            sample: Any = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(sample, dict):
            return cast("dict[str, Any]", sample)
    return None


def example_curl(stack: DevStack, manifest: Manifest, api: str, parameters: str) -> str:
    """Return a shell command that starts a Run.

    The command reads the key from its file or from the environment, and does not show it.
    """
    key = "${CALLBOARD_API_KEYS%%,*}" if stack.key_file is None else f"$(cat {shlex.quote(str(stack.key_file))})"
    body = f'{{"api": "{api}", "parameters": {parameters}}}'
    runs = f"{stack.url}/api/v1/workspace/{stack.settings.workspace}/projects/{manifest.project}/run"
    headers = f"-H \"x-api-key: {key}\" -H 'content-type: application/json'"
    return f"  curl -X POST {runs}/start {headers} -d {shlex.quote(body)}"


def _describe_key(stack: DevStack, *, shows_new_key: bool) -> str:
    if stack.new_key_file is not None and shows_new_key:
        return f"{stack.api_key}   (created now and stored in {stack.new_key_file}; not shown again)"
    if stack.key_file is not None:
        return f"in {stack.key_file}"
    return "as set in CALLBOARD_API_KEYS"


def _describe_webhook_secret(stack: DevStack) -> str:
    file = stack.webhook_secret_file
    return f"signed with the secret {'set in CALLBOARD_WEBHOOK_SECRETS' if file is None else f'in {file}'}"
