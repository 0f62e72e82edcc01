"""Writes the SBOM of a release: `sbom.py FILE TOOLS`, in CycloneDX, with the packages that `callboard` brings along.

uv resolves and exports them, on every platform, in the versions of `requirements.lock`. TOOLS is the SBOM by npm of
those that `callboard setup --typescript` installs. The same commit gives the same file. It has no address of a package
index: a release is the same wherever its packages came from.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from uv import find_uv_bin

REPOSITORY = Path(__file__).parents[2]


def locked_project(project: dict[str, Any], version: str, lock: str) -> str:
    """Return the `pyproject.toml` of a project that depends on what Callboard does, and on no other versions."""
    pins = re.findall(r"^(\w[^\\\n]*?) *\\?$", lock, re.MULTILINE)
    return "\n".join(
        [
            "[project]",
            f"name = {json.dumps(project['name'])}",
            f"version = {json.dumps(version)}",
            f"requires-python = {json.dumps(project['requires-python'])}",
            f"dependencies = {json.dumps(project['dependencies'])}",
            "[tool.uv]",
            "package = false",
            f"constraint-dependencies = {json.dumps(pins)}",
            "",
        ]
    )


def reproducible(sbom: dict[str, Any], made_at: datetime) -> dict[str, Any]:
    """Return an SBOM of uv without what differs from one export to the next, and without addresses.

    The files of a package keep their hashes. They are named by the package, as in `pkg:pypi/x@1?file_name=x-1.tar.gz`.
    """
    for component in sbom["components"]:
        for reference in component.get("externalReferences", ()):
            reference["url"] = f"{component['purl']}?file_name={reference['url'].rpartition('/')[2]}"
    sbom["metadata"]["timestamp"] = made_at.isoformat()
    sbom["serialNumber"] = ""
    sbom["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(sbom, sort_keys=True)).urn
    return sbom


def main() -> None:
    """Write the file; see the module's docstring."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    version = tomllib.loads((REPOSITORY / "runtime" / "pyproject.toml").read_text())["project"]["version"]
    lock = (REPOSITORY / "requirements.lock").read_text()
    with tempfile.TemporaryDirectory(prefix="callboard-sbom-") as folder:
        Path(folder, "pyproject.toml").write_text(locked_project(project, version, lock))
        # As pip does, it believes the certificates that this host believes.
        command = [find_uv_bin(), "export", "--quiet", "--no-config", "--system-certs", "--format", "cyclonedx1.5"]
        exported = subprocess.run(
            [*command, "--preview-features", "sbom-export"], cwd=folder, stdout=subprocess.PIPE, check=False
        )
    if exported.returncode:
        sys.exit("sbom: uv asks a package index what the packages require, and has failed (reason above).")
    made_at = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), UTC)
    sbom, tools = json.loads(exported.stdout), json.loads(Path(sys.argv[2]).read_text())
    sbom["components"] += [tools["metadata"]["component"], *tools["components"]]
    sbom["dependencies"] += tools["dependencies"]
    sbom = reproducible(sbom, made_at)
    Path(sys.argv[1]).write_text(json.dumps(sbom, indent=2) + "\n")


if __name__ == "__main__":
    main()
