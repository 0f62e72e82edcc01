"""A project folder as it is sent over REST in JSON (`codeTree`), which becomes an upload like any other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, cast

from callboard.projects.bundle import add_content, open_bundle
from callboard.projects.files import check_name
from callboard.projects.upload import UploadLimits, too_large
from callboard.schemas.rest.deploys import CodeTree
from callboard.schemas.rest.field_errors import field_error
from callboard.schemas.rest.json_text import parse_json_object, validate_body


def pack_tree(tree: Path, archive: Path, limits: UploadLimits) -> None:
    """Write the project in `tree`, a file with the body of a request, to `archive` as an upload.

    Raises:
        PayloadTooLarge: It has too many files. They are counted before one is packed.
        BadRequest, ProjectError: It is wrong; the error names the path.
        OSError: The disk failed.
    """
    body = validate_body(CodeTree, parse_json_object(tree.read_bytes()))
    files = [*islice(_files_of(body.code_tree, ()), limits.files + 1)]
    if len(files) > limits.files:
        raise too_large(f"The upload has more than {limits.files:,} files.", f"at most {limits.files:,} files")
    with archive.open("wb") as target, open_bundle(target) as bundle:
        for path, contents in files:
            add_content(bundle, path, contents.encode())


def _files_of(tree: dict[str, Any], above: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield the paths of the files of a tree, with their contents."""
    for name, node in tree.items():
        path = "/".join((*above, name))
        if "/" in name or name in ("", ".", ".."):
            raise field_error(f"codeTree.{path}", "the name of a file or a folder")
        check_name(path)
        match node:
            case {"directory": dict()}:
                yield from _files_of(cast("dict[str, Any]", node["directory"]), (*above, name))
            case {"file": {"contents": str(contents)}}:
                yield path, contents
            case _:
                expected = '{"file": {"contents": text}} or {"directory": {…}}'
                raise field_error(f"codeTree.{path}", expected)
