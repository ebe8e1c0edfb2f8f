"""Targets, addresses, metrics, variables and fields that the pages name are there."""

import re

import recall
from pipelines.experiments.grids import catalogue
from recall.feature_columns.declaration import FeatureColumn
from recall.settings.validation import ValidationConfig
from serving.api.recall_request import REQUEST_FIELDS
from tests.documents import spans
from tests.documents.blocks import ROOT

_SOURCES = [
    path
    for package in ("recall", "serving", "pipelines")
    for path in (ROOT / package).rglob("*.py")
]


def read(path):
    return (ROOT / path).read_text(encoding="utf-8")


def rows_below(path, heading):
    """First cells of the first table behind a heading, without backticks, split at commas."""
    text = spans.prose(ROOT / path).partition(f"\n## {heading}\n")[2]
    table = re.search(r"^\|.*\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)[1]
    firsts = [row.strip("|").split("|")[0] for row in table.splitlines()]
    return [name.strip(" `") for first in firsts for name in first.split(",")]


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


def test_the_table_of_a_request_has_all_its_fields():
    fields = {field.name for field in REQUEST_FIELDS}
    assert set(rows_below("docs/requests.md", "What a request can say")) == fields


def test_the_table_of_checks_has_all_limits():
    text = spans.prose(ROOT / "docs/validation.md")
    limits = set(ValidationConfig.__dataclass_fields__)
    assert set(re.findall(r"^\| .* \| `(\w+)` \|$", text, re.MULTILINE)) == limits


def test_the_table_of_features_has_all_parameters():
    text = spans.prose(ROOT / "docs/features.md").partition("| kind | parameters |\n")[2]
    rows = text.partition("\n\n")[0].splitlines()[1:]
    said = {re.findall(r"`(\w+)`", row)[0]: re.findall(r"`(\w+)`", row)[1:] for row in rows}
    assert said == {kind: list(names) for kind, names in FeatureColumn.PARAMETERS.items()}


def test_the_table_of_experiments_has_all():
    assert set(rows_below_first("docs/experiments.md")) == set(catalogue.BUILDERS)


def rows_below_first(path):
    """First cells of a page's first table."""
    table = re.search(r"^\|[-|]+\|\n((?:\|.*\n)+)", spans.prose(ROOT / path), re.MULTILINE)[1]
    return [row.split("|")[1].strip(" `") for row in table.splitlines()]


def test_the_list_of_pages_has_all():
    pages = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}
    assert pages <= set(re.findall(r"\]\((docs/\w+\.md)\)", read("BUILD.md")))


def test_the_table_of_benchmarks_has_all():
    """Those that are programs, but for the clients of others; the rest is what they share."""
    folder = ROOT / "tests" / "benchmarks"
    programs = {
        path.stem
        for path in folder.glob("*.py")
        if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
    } - {"load"}
    assert programs <= set(rows_below("BUILD.md", "Benchmarks"))


def test_the_page_about_rooms_has_all():
    text = read("docs/design.md")
    rooms = [
        path.parent.relative_to(ROOT / package).as_posix()
        for package in ("pipelines", "serving")
        for path in (ROOT / package).rglob("*/__init__.py")
    ]
    assert [room for room in rooms if f"`{room}/`" not in text] == []
    assert len(rooms) > 40


def test_the_parts_of_a_report_have_these_names():
    texts = "\n".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "pipelines" / "reporting").rglob("*")
        if path.suffix in (".py", ".j2")
    )
    table = spans.prose(ROOT / "docs/training.md").partition("| part | what it answers |\n")[2]
    parts = [row.split("|")[1].strip() for row in table.partition("\n\n")[0].splitlines()[1:]]
    assert [part for part in parts if part not in texts] == []
    assert len(parts) == 11


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
