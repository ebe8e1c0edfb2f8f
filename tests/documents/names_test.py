"""Targets, addresses, metrics, variables and extras that the pages name are there."""

import re

import recall
from tests.documents import spans
from tests.documents.blocks import ROOT

_SOURCES = [
    path
    for package in ("recall", "serving", "pipelines")
    for path in (ROOT / package).rglob("*.py")
]


def read(path):
    return (ROOT / path).read_text(encoding="utf-8")


def test_targets_of_make_exist():
    known = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    named = [
        (span.place, name)
        for span in spans.code_spans()
        for words in re.findall(r"^make ((?:[a-z-]+(?: |$))+)", span.text)
        for name in words.split()
    ]
    assert [one for one in named if one[1] not in known] == []
    assert len({name for _, name in named}) > 12


def test_addresses_of_the_http_door_exist():
    files = [read(f"serving/http_door/{name}.py") for name in ("routes", "pages")]
    paths = set(re.findall(r'"(/[a-z][^"{]*)"', "".join(files)))
    paths |= set(re.findall(r'path: "(.+)"', read("serving/config/monitoring.config")))
    named = [
        (span.place, path)
        for span in spans.whole_texts()
        for path in re.findall(
            r"(?:(?:GET|POST) |127\.0\.0\.1:8[56]\d\d)(/[a-z][\w:/.-]*)", span.text
        )
        if not path.startswith(("/v1/", "/data/"))  # TensorFlow Serving's, TensorBoard's.
    ]
    assert [one for one in named if one[1] not in paths] == []
    assert len({path for _, path in named}) >= 10


def test_metrics_exist():
    """Beside those of alerts and dashboard, which a server is asked for by other tests."""
    code = "\n".join(path.read_text(encoding="utf-8") for path in _SOURCES)
    named = {
        (span.place, span.text)
        for span in spans.code_spans()
        if re.fullmatch(r"recall_[a-z_]+", span.text)
    }
    wrong = [
        one
        for one in named
        if not {f'"{name}"' for name in (one[1], short(one[1]))} & set(re.findall(r'"\w+"', code))
    ]
    assert wrong == []
    assert len({name for _, name in named}) >= 10


def short(metric):
    """As the code says it: counters without their ending, gauges of the door without a prefix."""
    return metric.removesuffix("_total").removeprefix("recall_" if metric[-6:] != "_total" else "")


def test_variables_are_read():
    code = "\n".join(
        path.read_text(encoding="utf-8", errors="replace")
        for folder in ("recall", "serving", "pipelines", "tests", "deploy")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".yaml")
    )
    named = {
        (span.place, name)
        for span in spans.whole_texts()
        for name in re.findall(r"\b(?:RECALL|RELIABILITY|SOAK)_[A-Z_]+\b", span.text)
    }
    assert [one for one in named if one[1] not in code] == []
    assert len({name for _, name in named}) >= 6


def test_names_of_the_package_exist():
    named = {
        (span.place, name)
        for span in spans.code_spans()
        for name in re.findall(r"^recall\.([A-Za-z_]+)(?:\(.*|\.\w+)?$", span.text)
    }
    keys = {"record", "counts", "rules"}  # Of the metadata of Parquet files; files of alerts.
    modules = {path.stem for path in (ROOT / "recall").iterdir()}
    assert [one for one in named if one[1] not in {*recall._HOMES, *modules, *keys}] == []
    assert len({name for _, name in named}) >= 10


def test_the_extras_are_those_of_the_package():
    offered = set(re.findall(r'^        "(\w+)": ', read("setup.py"), re.MULTILINE))
    named = {
        name
        for span in spans.whole_texts()
        for names in re.findall(r"\brecall\[([\w,]+)\]", span.text)
        for name in names.split(",")
    }
    assert named <= offered
    assert named >= {"client", "serve", "train", "otel", "mlflow", "dask"}


def test_every_alert_with_advice_exists():
    """The other way round is a test of the alerts."""
    headings = re.findall(r"^### (Recall\w+)$", read("docs/operations.md"), re.MULTILINE)
    alerts = re.findall(r"alert: (\w+)$", read("deploy/monitoring/recall.rules.yml"), re.MULTILINE)
    assert set(headings) == set(alerts)
    panels = re.findall(r"\(\*([A-Z][\w ]+)\*", read("docs/operations.md"))
    dashboard = read("deploy/monitoring/grafana_dashboard.json")
    assert panels
    assert [panel for panel in panels if f'"title": "{panel}"' not in dashboard] == []


def test_the_extras_of_messages_are_those_of_the_pages():
    """An extra that stands beside another is never named alone."""
    code = "\n".join(path.read_text(encoding="utf-8") for path in _SOURCES)
    said = set(re.findall(r"recall\[([a-z,]+)\]", code))
    told = set(re.findall(r"`recall\[([a-z,]+)\]`", read("docs/index.md")))
    assert said <= told
