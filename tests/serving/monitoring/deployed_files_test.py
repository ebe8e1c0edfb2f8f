"""Alerts and dashboard of `deploy/monitoring`: valid, tested, and of metrics that a server has."""

import json
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from serving.protocol.status import Code

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy" / "monitoring"
RULES = FOLDER / "recall.rules.yml"
TESTS = FOLDER / "recall.rules.test.yml"
DASHBOARD = FOLDER / "grafana_dashboard.json"
PAGE = ROOT / "docs" / "operations.md"

GIVEN_BY_PROMETHEUS = {"up", "job", "instance"}
_KEYWORDS = {"and", "or", "unless", "offset", "bool", "by", "on", "without", "ignoring"}
_NAME = re.compile(r"[a-zA-Z_:][\w:]*")
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}")
_MATCHER = re.compile(r"(\w+)\s*(=~|!~|!=|=)\s*\"([^\"]*)\"")


class Query(NamedTuple):
    """An expression, and where it stands."""

    place: str
    text: str


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def dashboard() -> dict[str, Any]:
    return json.loads(DASHBOARD.read_text(encoding="utf-8"))


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def without_variables(text: str) -> str:
    """What Grafana would send."""
    text = text.replace("$__rate_interval", "5m").replace('"$instance"', '".*"')
    return text.replace('"$job"', '"recall"')


def queries() -> list[Query]:
    found = [Query(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]
    found += [
        Query(panel["title"], without_variables(target["expr"]))
        for panel in panels()
        for target in panel["targets"]
    ]
    found += [
        Query(annotation["name"], without_variables(annotation["expr"]))
        for annotation in dashboard()["annotations"]["list"]
    ]
    return found


def metrics_of(query: str) -> set[str]:
    """Names of metrics: what is no function, keyword, label or duration.

    >>> sorted(metrics_of('sum by (a) (rate(x_total{b="c"}[5m])) / y offset 1h > 2 and z'))
    ['x_total', 'y', 'z']
    """
    text = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\"[^\"]*\"", "", query)
    text = re.sub(r"\b(by|on|without|ignoring)\s*\([^)]*\)", "", text)
    text = re.sub(r"\boffset\s+\w+|\b\d[\w.]*", "", text)
    names = {
        match.group()
        for match in _NAME.finditer(text)
        if not text[match.end() :].lstrip().startswith("(")
    }
    return names - _KEYWORDS


def test_the_helper_sees_names():
    query = 'sum by (a) (rate(:t:x_total{b="c"}[5m])) / y offset 1h > bool 2e6 and on (job) z'
    assert metrics_of(query) == {":t:x_total", "y", "z"}


# ---- Prometheus' own tool ---------------------------------------------------


@pytest.fixture(name="promtool")
def fixture_promtool() -> str:
    path = shutil.which("promtool")
    if path is None:
        pytest.skip("promtool is not installed (Debian's package prometheus has it)")
    return path


def run(*words: str) -> None:
    result = subprocess.run(words, cwd=FOLDER, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_rules_are_valid(promtool):
    run(promtool, "check", "rules", RULES.name)
    run(promtool, "check", "config", "prometheus.yml")


def test_rules_alert_when_they_should(promtool):
    run(promtool, "test", "rules", TESTS.name)


def test_queries_of_the_dashboard_are_valid(promtool, tmp_path):
    recorded = [
        {"record": f"query_{number}", "expr": query.text} for number, query in enumerate(queries())
    ]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": recorded}]}))
    run(promtool, "check", "rules", str(path))


# ---- what is tested and told ------------------------------------------------


def test_every_alert_is_provoked_and_kept_silent():
    cases = [
        (case["alertname"], bool(case.get("exp_alerts")))
        for test in yaml.safe_load(TESTS.read_text(encoding="utf-8"))["tests"]
        for case in test["alert_rule_test"]
    ]
    assert {name for name, fires in cases if fires} == set(alerts())
    assert {name for name, fires in cases if not fires} == set(alerts())


def test_every_alert_has_a_paragraph_that_says_what_to_do():
    text = PAGE.read_text(encoding="utf-8")
    headings = re.findall(r"^### (Recall\w+)$", text, re.MULTILINE)
    assert headings == list(alerts())
    for name, alert in alerts().items():
        assert alert["annotations"]["runbook"] == f"docs/operations.md#{name.lower()}"
        assert alert["labels"]["severity"] in ("critical", "warning")
        paragraph = text.partition(f"### {name}\n")[2].partition("\n#")[0]
        assert len(paragraph.split()) > 20, name


# ---- metrics that a server has ----------------------------------------------


class Shown(NamedTuple):
    """What a server's page has: names, and label -> values of each."""

    names: set[str]
    labels: dict[str, dict[str, set[str]]]


@pytest.fixture(scope="module", name="shown")
def fixture_shown(recall_server) -> Shown:
    """The page of a real server after requests at its HTTP port."""
    address = f"http://{recall_server.http_address}"
    for body in ({"history": ["i3"], "k": 2}, {"history": [], "k": 2}):
        urllib.request.urlopen(f"{address}/recall", json.dumps(body).encode(), timeout=30).close()
    with urllib.request.urlopen(f"{address}/monitoring/prometheus/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    names, labels = set(GIVEN_BY_PROMETHEUS), {}
    for line in lines:
        if line.startswith("# TYPE "):
            names.add(line.split()[2])
        elif not line.startswith("#"):
            name = _NAME.match(line).group()
            names.add(name)
            for label, _, value in _MATCHER.findall(line):
                labels.setdefault(name, {}).setdefault(label, set()).add(value)
    return Shown(names, labels)


@pytest.mark.parametrize("query", queries(), ids=lambda query: query.place)
def test_every_metric_is_one_of_a_server(query, shown):
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    assert metrics_of(query.text)
    histograms = {f"{name}_{part}" for name in shown.names for part in ("bucket", "sum", "count")}
    missing = metrics_of(query.text) - recorded - shown.names - histograms
    assert missing == set()


@pytest.mark.parametrize("query", queries(), ids=lambda query: query.place)
def test_every_label_and_value_is_one_of_a_server(query, shown):
    codes = {code.name for code in Code}
    for metric, matchers in _SELECTOR.findall(query.text):
        for label, operator, value in _MATCHER.findall(matchers):
            if label in GIVEN_BY_PROMETHEUS or metric.startswith("recall:"):
                continue
            if label == "status":
                assert set(value.split("|")) <= codes
                continue
            found = shown.labels.get(metric, {})
            assert label in found, f"{metric} has no label {label}"
            if operator in ("=", "!="):
                assert value in found[label], f"{metric}: {label} is never {value}"


# ---- the dashboard ----------------------------------------------------------


def test_panels_say_what_they_are():
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(ids) == len(set(ids))
    titles = [panel["title"] for panel in dashboard()["panels"]]
    assert len(titles) == len(set(titles))
    for panel in panels():
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"]["uid"] == "${datasource}"
        references = [target["refId"] for target in panel["targets"]]
        assert references == sorted(set(references))


def test_panels_lie_beside_each_other():
    cells: dict[tuple[int, int], str] = {}
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert (x, y) not in cells, f"{panel['title']} covers {cells[x, y]}"
                cells[x, y] = panel["title"]


def test_variables_are_declared_and_used():
    text = json.dumps([panel["targets"] for panel in panels()])
    used = set(re.findall(r"\$\{?(\w+)", text + json.dumps(panels())))
    declared = {variable["name"] for variable in dashboard()["templating"]["list"]}
    assert used - {"__rate_interval"} == declared
