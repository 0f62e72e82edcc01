"""The start that a form describes as code: with curl, with the Python client, and with the command line."""

from __future__ import annotations

import json
import pprint
import shlex
import textwrap
from typing import Any

from api.dashboard.playground.form import SECRET_FIELDS
from api.dependencies import Services
from schemas.mask import MASK


def code_samples(services: Services, origin: str, project: str, body: dict[str, Any]) -> dict[str, str]:
    """Return the start with this body as code, by language.

    The code reads the API key from the environment. Secrets are masked: whoever runs the code has to fill them in.
    """
    shown = _without_secrets(body)
    workspace = services.settings.workspace
    body_text = json.dumps(shown, indent=2, ensure_ascii=False)
    # The lines of the literal are aligned with its first character, behind "body=".
    body_literal = textwrap.indent(pprint.pformat(shown, width=100, sort_dicts=False), " " * 9).lstrip()
    url = f"{origin}/api/v1/workspace/{workspace}/projects/{project}/run/start"
    curl = (
        f"curl -X POST {shlex.quote(url)} \\\n"
        '  -H "x-api-key: $CALLBOARD_API_KEY" -H "content-type: application/json" \\\n'
        f"  -d {shlex.quote(body_text)}"
    )
    python = (
        "import os\n\nfrom intuned_client import IntunedClient\n\n"
        "client = IntunedClient(\n"
        '    api_key=os.environ["CALLBOARD_API_KEY"],\n'
        f"    workspace_id={json.dumps(workspace)},\n"
        f"    base_url={json.dumps(f'{origin}/api/v1/workspace')},\n"
        ")\n"
        f"run = client.projects.runs.start(\n    project_name={json.dumps(project)},\n"
        f"    body={body_literal},\n)\nprint(run.run_id)"
    )
    command = (
        f"callboard runs start --project {shlex.quote(project)} --url {shlex.quote(origin)} --wait \\\n"
        f"  {shlex.quote(body_text)}"
    )
    return {"curl": curl, "Python": python, "Command line": command}


def _without_secrets(body: dict[str, Any]) -> dict[str, Any]:
    shown = dict(body)
    for field, names in (("sink", SECRET_FIELDS), ("authSession", ("runtimeInput",))):
        if field in shown:
            shown[field] = {name: MASK if name in names else value for name, value in shown[field].items()}
    if "headers" in shown.get("sink", {}) and isinstance(shown["sink"]["headers"], dict):
        shown["sink"]["headers"] = dict.fromkeys(shown["sink"]["headers"], MASK)
    return shown
