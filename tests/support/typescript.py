"""Projects in TypeScript as their deploys leave them, without a deploy: each function with its bundle."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent, indent

_EXPORT = "export default "


def handlers(**bodies: str) -> dict[str, str]:
    """An API of each name. The body of its handler finds `params`, `page` and `context`."""
    return bundled(
        {
            f"api/{name}.ts": (
                f"{_EXPORT}async function handler(params, page, context) {{\n{indent(dedent(body).strip(), '  ')}\n}}\n"
            )
            for name, body in bodies.items()
        }
    )


def bundled(files: Mapping[str, str]) -> dict[str, str]:
    """These files with what a deploy makes of those with functions, which are plain JavaScript but for their export."""
    made = {path: dedent(source) for path, source in files.items()}
    for path, source in list(made.items()):
        if path.endswith(".ts") and path.partition("/")[0] in {"api", "auth-sessions", "hooks"}:
            made[f".callboard/{path.removesuffix('.ts')}.cjs"] = _bundle(path, source)
    return made


def _bundle(path: str, source: str) -> str:
    """A bundle whose lines are those of its source."""
    up = "../" * len(Path(path).parts)
    names = {
        "version": 3,
        "sources": [f"{up}{path}"],
        "names": [],
        "mappings": "AAAA" + ";AACA" * source.count("\n"),
    }
    inline = base64.b64encode(json.dumps(names).encode()).decode()
    code = source.replace(_EXPORT, "exports.default = ")
    return f"{code}\n//# sourceMappingURL=data:application/json;base64,{inline}\n"
