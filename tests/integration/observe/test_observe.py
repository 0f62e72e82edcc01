"""The alert rules and the dashboard ask for metrics that there are, and are good files of their kinds."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.observe.metrics import known
from tests.support.compose_file import load
from tests.support.repository import REPOSITORY

OBSERVE = REPOSITORY / "hosting" / "observe"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((OBSERVE / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
PROMETHEUS: dict[str, Any] = yaml.safe_load((OBSERVE / "prometheus.yml").read_text())
DASHBOARD: dict[str, Any] = json.loads((OBSERVE / "grafana" / "callboard.json").read_text())
COMPOSE = load()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
AGGREGATION = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
SELECTOR = re.compile(r"\b([a-zA-Z_]\w*)\s*\{([^}]*)\}")
WORDS = {"and", "or", "unless", "offset", "bool", "inf", "nan"}


def queries() -> Iterator[tuple[str, str]]:
    """Yield every expression with where it is; Grafana's variables are filled in."""
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    asked = [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    for annotation in DASHBOARD["annotations"]["list"]:
        asked.append((annotation["name"], annotation["expr"]))
    for title, expression in asked:
        yield title, expression.replace("$__rate_interval", "5m").replace("$project", ".*")
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            inside = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
            assert inside is not None
            yield variable["name"], f"sum by ({inside[2]}) ({inside[1]})"


QUERIES = list(queries())


def series_and_labels(expression: str) -> tuple[set[str], dict[str, set[str]], set[str]]:
    """Return the series of an expression, the labels by which each is selected, and those that it is grouped by."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    grouped = {label.strip() for found in AGGREGATION.findall(bare) for label in found.split(",") if label.strip()}
    selected: dict[str, set[str]] = {}
    for name, matchers in SELECTOR.findall(bare):
        selected.setdefault(name, set()).update(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
    rest = re.sub(r"\[[^\]]*\]|\boffset\s+\w+", " ", re.sub(r"\{[^}]*\}", " ", AGGREGATION.sub(" ", bare)))
    names = set(re.findall(r"(?<![\w.])([a-zA-Z_]\w*)(?!\w|\s*\()", rest)) - WORDS
    return names - {"sum", "max", "min", "count", "avg"}, selected, grouped


def promtool(*arguments: str | Path) -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian: promtool).")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_reader_of_expressions_finds_names_and_labels() -> None:
    text = 'sum by (a, le) (rate(x_bucket{b=~"y{z", c!="d"}[5m])) / on (e) max(w) > 0 unless v offset 1h'
    assert series_and_labels(text) == ({"x_bucket", "w", "v"}, {"x_bucket": {"b", "c"}}, {"a", "le", "e"})


@pytest.mark.parametrize(("where", "expression"), QUERIES, ids=[where for where, _ in QUERIES])
def test_every_metric_and_label_is_one_that_there_is(where: str, expression: str) -> None:
    table = known()
    names, selected, grouped = series_and_labels(expression)
    assert names, where
    assert names <= table.keys()
    for name, labels in selected.items():
        assert labels <= table[name], f"{where}: {name} has no such labels"
    assert grouped <= set().union(*(table[name] for name in names)), where


def test_every_expression_is_one_that_a_parser_takes() -> None:
    try:
        parser = importlib.import_module("promql_parser")
    except ModuleNotFoundError:
        pytest.skip("promql-parser is not installed.")
    for where, expression in QUERIES:
        assert parser.parse(expression) is not None, where


def test_every_metric_of_ours_is_shown_or_watched() -> None:
    """Else it would be counted for nobody."""
    used = set().union(*(series_and_labels(expression)[0] for _, expression in QUERIES))
    ours = {name for name in known() if name.startswith("callboard_") and not name.endswith(("_sum", "_count"))}
    assert ours <= used


def test_every_alert_says_who_should_do_what() -> None:
    page = (REPOSITORY / "docs" / "troubleshooting.md").read_text()
    headings = set(re.findall(r"^## (.+)$", page, flags=re.MULTILINE))
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["alert"].startswith("Callboard")
        assert rule["labels"]["severity"] in {"warning", "critical"}
        found = re.fullmatch(r'docs/troubleshooting\.md, "(.+)"', rule["annotations"]["runbook"])
        assert found is not None
        assert found[1] in headings, rule["alert"]
        for label in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]):
            assert label in series_and_labels(rule["expr"])[2], f"{rule['alert']} has no label {label}"


def test_prometheus_looks_for_the_services_where_they_are() -> None:
    jobs = {job["job_name"]: job["dns_sd_configs"][0] for job in PROMETHEUS["scrape_configs"]}
    assert jobs.keys() == {"callboard-api", "callboard-worker"}
    for name, found in jobs.items():
        (service,) = found["names"]
        assert name == f"callboard-{service}"
        address = SERVICES[service]["environment"]["CALLBOARD_METRICS_ADDRESS"]
        assert address == f"0.0.0.0:{found['port']}"
        published = [port.rpartition(":")[2] for port in SERVICES[service].get("ports", [])]
        assert str(found["port"]) not in published, "the numbers are for Prometheus only"
    named = set(re.findall(r'job="([^"]+)"', " ".join(expression for _, expression in QUERIES)))
    assert named <= jobs.keys()


def test_the_profile_mounts_these_files_and_asks_for_a_password() -> None:
    files = {name: config["file"] for name, config in COMPOSE["configs"].items() if "file" in config}
    for name in ("prometheus", "grafana"):
        service = SERVICES[name]
        assert service["profiles"] == ["observe"]
        for config in service["configs"]:
            assert (REPOSITORY / files[config["source"]]).is_file()
    targets = {config["target"] for config in SERVICES["prometheus"]["configs"]}
    assert targets == {"/etc/prometheus/prometheus.yml", f"/etc/prometheus/{PROMETHEUS['rule_files'][0]}"}
    assert "--config.file=/etc/prometheus/prometheus.yml" in SERVICES["prometheus"]["command"]
    (provider,) = yaml.safe_load((OBSERVE / "grafana" / "dashboards.yml").read_text())["providers"]
    assert f"{provider['options']['path']}/callboard.json" in {c["target"] for c in SERVICES["grafana"]["configs"]}
    (source,) = yaml.safe_load((OBSERVE / "grafana" / "datasource.yml").read_text())["datasources"]
    assert source["url"] == f"http://prometheus:{SERVICES['prometheus']['ports'][0].rpartition(':')[2]}"
    assert source["jsonData"]["timeInterval"] == PROMETHEUS["global"]["scrape_interval"]
    assert SERVICES["grafana"]["environment"]["GF_AUTH_ANONYMOUS_ENABLED"] == "false"


@pytest.mark.parametrize(("password", "code"), [("", 1), ("a-password", 0)])
def test_grafana_does_not_start_without_a_password(password: str, code: int, tmp_path: Path) -> None:
    service = SERVICES["grafana"]
    run = tmp_path / "run.sh"
    run.write_text("#!/bin/sh\necho started\n")
    run.chmod(0o755)
    (script,) = service["command"]
    script = script.replace("$$", "$").replace("/run.sh", str(run))
    done = subprocess.run(
        [*service["entrypoint"], script],
        env={"GF_SECURITY_ADMIN_PASSWORD": password},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, "started" in done.stdout) == (code, code == 0)
    assert ("GRAFANA_PASSWORD is missing" in done.stderr) == (code == 1)


def test_the_dashboard_is_one() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(places), "no panel is on another one"
    for panel in DASHBOARD["panels"]:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        if panel["type"] != "row":
            assert panel["description"]
            grouped = set().union(*(series_and_labels(target["expr"])[2] for target in panel["targets"]))
            for target in panel["targets"]:
                assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= grouped, panel["title"]


def test_promtool_takes_the_configuration_and_the_rules() -> None:
    said = promtool("check", "config", "--lint=all", OBSERVE / "prometheus.yml")
    assert f"{len(RULES)} rules found" in said


def test_promtool_takes_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    rules = [{"record": f"dashboard:{number}", "expr": expression} for number, (_, expression) in enumerate(QUERIES)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(QUERIES)} rules found" in promtool("check", "rules", "--lint=none", file)


def test_alerts_fire_when_they_should_and_only_then() -> None:
    file = REPOSITORY / "tests" / "integration" / "observe" / "alerts_test.yml"
    assert "SUCCESS" in promtool("test", "rules", file)
    tested = set(re.findall(r"Callboard\w+", file.read_text()))
    assert {rule["alert"] for rule in RULES} <= tested
