"""API names come from paths."""

from pathlib import Path

import pytest

from callboard.projects.apis import check_languages, check_names, check_syntax, find_apis
from callboard.projects.files import list_project_files
from callboard.schemas.errors import ProjectError
from tests.support.files import write_files
from tests.support.project_folders import Make


def test_each_python_file_below_api_is_an_api_named_by_its_path(make_project: Make):
    folder = make_project(
        {
            "api/01-start.py": "",
            "api/ai/extract-data.py": "",
            "api/ai/deep/er/x.py": "",
            "api/__init__.py": "",
            "api/ai/__init__.py": "",
            "api/__pycache__/old.py": "",
            "api/.hidden.py": "",
            "api/.folder/x.py": "",
            "api/notes.md": "",
            "api/list.json": "",
            "utils/api/other.py": "",
            "list.py": "",
        }
    )
    assert find_apis(folder, list_project_files(folder)) == ["01-start", "ai/deep/er/x", "ai/extract-data", "list"]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ([], "there is no folder api in the project. Each API is a Python file in it: "),
        (["api/__init__.py"], "there is no API in the project's folder api. Each API is a Python file in it: "),
        (["api/list.ts"], "not served, as a project in TypeScript has a package.json. There is no other API "),
    ],
)
def test_a_project_without_an_api_is_told_what_to_do(tmp_path: Path, files: list[str], told: str):
    for file in files:
        (tmp_path / "api").mkdir()
        (tmp_path / file).touch()
    with pytest.raises(ProjectError) as error:
        find_apis(tmp_path, list_project_files(tmp_path))
    assert told in error.value.message
    assert error.value.message.endswith(
        "create api/hello.py with `async def automation(page, params=None, **_kwargs)` to have the API hello."
    )


def test_a_project_with_a_package_json_and_apis_in_typescript_is_in_typescript(tmp_path: Path):
    apis = ["api/shop/list.ts", "api/old.js", "api/new.mts", "api/esm.mjs", "api/v1.2.ts"]
    others = ["api/types.d.ts", "api/.hidden.ts", "api/page.tsx", "utils/kinds.ts", "package.json", "tests/test_x.py"]
    write_files(tmp_path, dict.fromkeys([*apis, *others], ""))
    files = list_project_files(tmp_path)
    assert find_apis(tmp_path, files) == ["esm", "new", "old", "shop/list", "v1.2"]
    assert [str(warning) for warning in check_languages(files)] == [
        "api/page.tsx: not served, as APIs are .ts, .mts, .js, .mjs files"
    ]


def test_a_python_project_may_have_a_package_json(tmp_path: Path):
    write_files(tmp_path, {"api/list.py": "", "package.json": "{}", "site/app.ts": ""})
    assert find_apis(tmp_path, list_project_files(tmp_path)) == ["list"]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (["api/list.ts", "api/old.py"], "api/old.py: its APIs are in two languages."),
        (["api/list.ts", "api/list.js"], "api/list.ts: api/list.js is the API list already."),
        (["api/notes.md"], "there is no API in the project's folder api. Each API is a TypeScript or JavaScript file"),
    ],
)
def test_what_a_project_in_typescript_cannot_have_is_refused(tmp_path: Path, files: list[str], told: str):
    write_files(tmp_path, dict.fromkeys([*files, "package.json"], ""))
    with pytest.raises(ProjectError) as error:
        find_apis(tmp_path, list_project_files(tmp_path))
    assert told in error.value.message


def test_files_that_python_cannot_compile_are_named_with_line_and_reason(make_project: Make):
    folder = make_project(
        {
            "api/broken.py": "x = 1\nasync def automation(page:\n    pass\n",
            "api/nul.py": "x = '\0'",
            "api/outside.py": "\n\nreturn 1",
            "utils/deep.py": "(" * 5000 + ")" * 5000,
            "utils/good.py": "import re\nre.compile('\\d')\n",
            "notes.txt": "not python (",
        }
    )
    (folder / "utils" / "bytes.py").write_bytes(b"x = '\xff'\n")
    warnings = {warning.file: warning for warning in check_syntax(list_project_files(folder))}
    assert sorted(warnings) == ["api/broken.py", "api/nul.py", "api/outside.py", "utils/bytes.py", "utils/deep.py"]
    assert warnings["api/broken.py"].line == 2
    assert str(warnings["api/broken.py"]) == "api/broken.py, line 2: '(' was never closed"
    assert warnings["api/outside.py"].line == 3
    assert all(warning.message for warning in warnings.values())


def test_names_that_python_cannot_import_are_named():
    warnings = check_names(["a", "a/b", "a/c/d", "v1.2/x", "x"])
    assert [str(warning) for warning in warnings] == [
        "api/a/b.py: it cannot be imported beside api/a.py, a module of its folder's name; rename one of them",
        "api/a/c/d.py: it cannot be imported beside api/a.py, a module of its folder's name; rename one of them",
        "api/v1.2/x.py: it cannot be imported with a dot in its path; rename it",
    ]
