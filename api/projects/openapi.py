"""The OpenAPI description of one project: its calls about Runs, with what each API takes and returns.

It is a part of the description of the whole, in which workspace and project are filled in. There is one call that
starts Runs, so its body is one of several objects, which `api` tells apart: that is what generators of clients know as
a discriminator.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any, cast

from api.http.openapi import schema_reference
from callboard.projects.input_schemas import ApiDescriptions, InputSchema
from callboard.projects.manifest import Manifest

_PREFIX = "/api/v1/workspace/{workspaceId}/projects/{projectName}"
_START = f"{_PREFIX}/run/start"
_CALLS = (_START, f"{_PREFIX}/run/{{runId}}/result", f"{_PREFIX}/run/{{runId}}/cancel")
_FILLED_IN = ("workspaceId", "projectName")
_DEFINITION = "#/$defs/"


def project_openapi(
    whole: Mapping[str, Any], workspace: str, manifest: Manifest, described: ApiDescriptions, server: str
) -> dict[str, Any]:
    """Return the description of a project.

    Args:
        whole: The description of the whole application.
        workspace: The id of the workspace.
        manifest: The manifest of the version that is described.
        described: What is known of its APIs.
        server: The address of this server, as the client knows it.
    """
    components: dict[str, Any] = dict(whole["components"]["schemas"])
    base = _PREFIX.format(workspaceId=workspace, projectName=manifest.project)
    paths = {f"{base}{path.removeprefix(_PREFIX)}": _filled_in(whole["paths"][path]) for path in _CALLS}
    starts = {api: _add_start(components, api, manifest, described) for api in manifest.apis}
    _add_results(components, manifest, described)
    paths[f"{base}/run/start"]["post"]["requestBody"]["content"]["application/json"]["schema"] = {
        "oneOf": [{"$ref": reference} for reference in starts.values()],
        "discriminator": {"propertyName": "api", "mapping": starts},
    }
    return {
        "openapi": whole["openapi"],
        "info": {"title": manifest.project, "version": manifest.version},
        "servers": [{"url": server}],
        "paths": paths,
        "components": {
            "schemas": _needed(paths, components),
            "securitySchemes": whole["components"]["securitySchemes"],
        },
    }


def _filled_in(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the calls of a path without the parameters that are filled in."""
    calls = copy.deepcopy(dict(item))
    for call in calls.values():
        call["parameters"] = [each for each in call["parameters"] if each["name"] not in _FILLED_IN]
    return calls


def _add_start(components: dict[str, Any], api: str, manifest: Manifest, described: ApiDescriptions) -> str:
    """Add the body of a start of one API to the components, and return a reference to it."""
    known = described.of(api)
    start = copy.deepcopy(cast("dict[str, Any]", components["StartRequest"]))
    for for_all_apis in ("title", "description", "examples"):
        start.pop(for_all_apis, None)
    if known.docstring is not None:
        start["description"] = known.docstring
    start["properties"]["api"] = {"type": "string", "const": api}
    start["properties"]["parameters"] = (
        {"type": "object", "description": "Given to the API as they are."}
        if known.input_schema is None
        else _add_schema(components, api, "Parameters", known.input_schema)
    )
    if manifest.settings.auth_sessions.enabled:
        start["required"] = [*start["required"], "authSession"]
    else:
        del start["properties"]["authSession"]
    name = _new_name(components, api, "Start")
    components[name] = start
    return schema_reference(name)


def _add_results(components: dict[str, Any], manifest: Manifest, described: ApiDescriptions) -> None:
    """Let the answer of `result`, which all APIs share, say what they return, as far as that is known."""
    schemas = {api: described.of(api).result_schema for api in manifest.apis}
    known = [_add_schema(components, api, "Result", schema) for api, schema in schemas.items() if schema is not None]
    if known:
        others = [{"description": "What the other APIs return."}] if None in schemas.values() else []
        answer = copy.deepcopy(components["ResultResponse"])
        answer["properties"]["result"]["anyOf"] = [*known, *others]
        components["ResultResponse"] = answer


def _add_schema(components: dict[str, Any], api: str, suffix: str, schema: InputSchema) -> dict[str, Any]:
    """Add a schema of an API to the components, with its definitions, and return a reference to it."""
    names: dict[str, str] = {}
    for definition in schema.get("$defs", {}):
        names[definition] = _new_name(components, f"{api} {definition}", "")
        components[names[definition]] = {}  # so that no other one gets this name
    references = {f"{_DEFINITION}{definition}": schema_reference(name) for definition, name in names.items()}
    for definition, name in names.items():
        components[name] = _with_references(schema["$defs"][definition], references)
    name = _new_name(components, api, suffix)
    own = {keyword: value for keyword, value in schema.items() if keyword not in ("$schema", "$defs")}
    components[name] = _with_references(own, references)
    return {"$ref": schema_reference(name)}


def _new_name(components: Mapping[str, Any], text: str, suffix: str) -> str:
    """Return a name for a component that no other one has, as generators of clients like it: `ProductsDetailsStart`."""
    words = re.findall(r"[A-Za-z0-9]+", text)
    plain = "".join(word[0].upper() + word[1:] for word in words) + suffix
    name, number = plain, 1
    while name in components:
        number += 1
        name = f"{plain}{number}"
    return name


def _with_references(part: Any, references: Mapping[str, str]) -> Any:
    """Return a part of a schema with other references."""
    if isinstance(part, list):
        return [_with_references(each, references) for each in cast("list[Any]", part)]
    if not isinstance(part, dict):
        return part
    members = cast("dict[str, Any]", part)
    return {
        name: references[value] if name == "$ref" and isinstance(value, str) else _with_references(value, references)
        for name, value in members.items()
    }


def _needed(paths: Mapping[str, Any], components: Mapping[str, Any]) -> dict[str, Any]:
    """Return the components that the paths refer to, and those that these refer to."""
    needed: dict[str, Any] = {}
    waiting: list[Any] = [paths]
    while waiting:
        for name in _component_names(waiting.pop()):
            if name not in needed:
                needed[name] = components[name]
                waiting.append(components[name])
    return {name: needed[name] for name in sorted(needed)}


def _component_names(part: Any) -> list[str]:
    if isinstance(part, list):
        return [name for each in cast("list[Any]", part) for name in _component_names(each)]
    if not isinstance(part, dict):
        return []
    members = cast("dict[str, Any]", part)
    reference = members.get("$ref")
    own = [reference.rpartition("/")[2]] if isinstance(reference, str) else []
    return [*own, *(name for each in members.values() for name in _component_names(each))]
