"""The five spellings say the same, and what none of them can say is refused in the same words."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from callboard.projects.settings_file import read_settings, read_settings_file
from callboard.projects.settings_syntax import SETTINGS_PARSERS, SettingsSyntaxError, parse_toml, parse_yaml
from callboard.schemas.errors import SettingsError

JSON = '{"projectName": "shop", "replication": {"maxConcurrentRequests": 3}, "headful": true, "version": "2.0"}'
YAML = """
projectName: shop
replication: {maxConcurrentRequests: 3}  # three Machines
headful: true
version: "2.0"
"""
TOML = """
projectName = "shop"
headful = true
version = "2.0"
[replication]
maxConcurrentRequests = 3  # three Machines
"""
SAME = {
    "Intuned.json": JSON,
    "Intuned.jsonc": f"// settings\n{JSON}",
    "Intuned.yaml": YAML,
    "Intuned.yml": f"---\n{YAML}",
    "Intuned.toml": TOML,
}


def refusal(name: str, text: str) -> str:
    """The sentence with which a file of this name and text is refused, without its name."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_text(text)
        with pytest.raises(SettingsError) as error:
            read_settings(Path(folder))
    assert error.value.message.startswith(f"{name}: ")
    return error.value.message.removeprefix(f"{name}: ")


def test_every_spelling_says_the_same(tmp_path: Path):
    assert list(SAME) == list(SETTINGS_PARSERS)
    read: list[Any] = []
    for name, text in SAME.items():
        (tmp_path / name).write_text(text)
        read.append(read_settings(tmp_path))
        (tmp_path / name).unlink()
    assert read[0].machines == 3
    assert read == [read[0]] * 5


def test_the_first_spelling_that_is_there_wins(tmp_path: Path):
    for name, text in SAME.items():
        (tmp_path / name).write_text(text)
    for name in SAME:
        assert read_settings_file(tmp_path).name == name
        (tmp_path / name).unlink()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("headful: yes", 'headful: expected true or false, found "yes"'),
        ("replication: {maxCount: 010}", 'replication.maxCount: expected a whole number from 1 to 1000, found "010"'),
        ("projectName: 7", "projectName: expected text, found 7"),
        ("- 1", "expected an object, found a list"),
        ("shop", 'expected an object, found "shop"'),
        *((text, "expected a YAML mapping, found an empty file") for text in ("", "# nothing", "null")),
        ("a: 1\nb: 2\na: 3", "this is not YAML: the key 'a' stands twice in one mapping in line 3, column 1"),
        ("a:\n  {b: 1, b: 1}", "this is not YAML: the key 'b' stands twice in one mapping in line 2, column 10"),
        ("1: a", "this is not YAML: expected text as a key; put it in quotes in line 1, column 1"),
        ("? [a]\n: 1", "this is not YAML: expected text as a key; put it in quotes in line 1, column 3"),
        ("a: b: c", "this is not YAML: mapping values are not allowed here in line 1, column 5"),
        ("a: *x", "this is not YAML: found undefined alias 'x' in line 1, column 4"),
        (
            "--- {}\n--- {}",
            (
                "this is not YAML: expected a single document in the stream, but found another document "
                "in line 2, column 1"
            ),
        ),
        ("a: \x07", "this is not YAML: special characters are not allowed (character 4)"),
        (
            "a: !!python/name:os.system x",
            (
                "this is not YAML: could not determine a constructor for the tag "
                "'tag:yaml.org,2002:python/name:os.system' in line 1, column 4"
            ),
        ),
        ("a: !!int x", "this is not YAML: a value does not suit its tag (!!…)"),
        ("[" * 5000, "expected YAML, found too many levels of mappings and lists"),
    ],
)
def test_yaml_that_means_something_else_than_it_seems_to_is_refused(text: str, message: str):
    assert refusal("Intuned.yaml", text) == message
    assert refusal("Intuned.yml", text) == message


def test_yaml_reads_plain_values_as_json_would():
    texts = ["no", "on", "2026-11-24", "1_0", "1:30", "010", "0x10", ".inf", "="]
    values = {"~": None, "": None, "-1": -1, "1.5": 1.5, "1e3": 1000.0, "false": False, "TRUE": True, "'1'": "1"}
    assert parse_yaml(f"{{a: [{', '.join(texts)}]}}") == {"a": texts}
    assert [parse_yaml(f"a: {text}") for text in values] == [{"a": value} for value in values.values()]


def test_anchors_and_merges_work_in_yaml():
    read: Any = parse_yaml("big: &big {size: large, maxCount: 2}\nreplication: {<<: *big, maxCount: 3}")
    assert read["replication"] == {"size": "large", "maxCount": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("headful = 2026-11-24", "headful: expected true or false, found a date or time"),
        ("projectName = 10:00:00", "projectName: expected text, found a date or time"),
        (
            "replication.maxCount = inf",
            "replication.maxCount: expected a whole number from 1 to 1000, found a number that is not finite",
        ),
        (
            f"replication.maxCount = 0x{'f' * 5000}",
            "replication.maxCount: expected a whole number from 1 to 1000, found a number",
        ),
        ("a = 1\na = 2", "this is not TOML: Cannot overwrite a value (at end of document)"),
        ("a", "this is not TOML: Expected '=' after a key in a key/value pair (at end of document)"),
    ],
)
def test_toml_that_is_none_or_holds_a_wrong_value_is_refused(text: str, message: str):
    assert refusal("Intuned.toml", text) == message
    assert parse_toml("") == {}, "an empty file holds no settings, and is good"
    # Newer Pythons have a limit of their own, with words of their own.
    with pytest.raises(SettingsSyntaxError, match=r"^(expected|this is not) TOML"):
        parse_toml("a=" + "[" * 5000)


def test_a_key_that_stands_twice_is_refused_in_json(tmp_path: Path):
    text = '{"headful": true, "replication": {"size": "large", "size": "large"}}'
    assert refusal("Intuned.json", text) == 'expected JSON, found the key "size" twice in one object'


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_yaml_gives_back_what_json_holds(value: dict[str, Any]):
    text = yaml.safe_dump(json.loads(json.dumps(value)), default_style='"', allow_unicode=False)
    assert parse_yaml(text) == value
    # JSON is YAML, but for half surrogate pairs and, in YAML 1.1, a few others.
    if "\\u" not in (plain := json.dumps(value)):
        assert parse_yaml(plain) == value


@given(st.text(), st.sampled_from(list(SETTINGS_PARSERS)))
def test_any_text_is_read_or_refused_in_words(text: str, name: str):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_text(text, errors="ignore")
        try:
            read_settings(Path(folder))
        except SettingsError as error:
            error.message.encode()
