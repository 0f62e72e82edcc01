"""The banner of `callboard dev` once it runs: where everything is, what is served, and a call to try."""

from __future__ import annotations

import shlex

from devstack.dev import DevStack
from devstack.publishing import format_broken, format_pending, format_version
from projects.manifest import Manifest


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
    if projects.deployed:
        text += ["", "Try:", example_curl(stack, projects.deployed[0])]
    text += ["", "Changes to project folders are published at once. Press Ctrl-C to stop."]
    return "\n".join(text)


def example_curl(stack: DevStack, manifest: Manifest, api: str | None = None, parameters: str = "{}") -> str:
    """Return a shell command that starts a Run.

    The command reads the key from its file or from the environment, and does not show it.
    """
    key = "${CALLBOARD_API_KEYS%%,*}" if stack.key_file is None else f"$(cat {shlex.quote(str(stack.key_file))})"
    body = f'{{"api": "{api or manifest.apis[0]}", "parameters": {parameters}}}'
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
