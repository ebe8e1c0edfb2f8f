"""Tables of the pages have the rows that the code has: no more, no fewer, no others."""

import pytest

from pipelines.experiments.grids import catalogue
from pipelines.sources.columns.id_checks import NULL_MARKERS
from pipelines.sources.tables import compression, parquet_files, text_format
from recall.feature_columns.attributes import ItemAttribute
from recall.feature_columns.declaration import OWNERS, FeatureColumn
from recall.settings.ingest import IngestConfig
from recall.settings.train import TrainConfig
from recall.settings.validation import ValidationConfig
from serving.api.recall_request import REQUEST_FIELDS
from serving.http_door import errors
from serving.protocol.status import Code
from tests.documents import spans
from tests.documents.blocks import ROOT


def names(cell):
    """Of a cell that has several, by commas."""
    return [name.strip() for name in cell.split(",")]


def firsts(page, heads):
    return [name for row in spans.table(page, heads) for name in names(row[0])]


def test_tables_are_read_as_they_are():
    rows = spans.table("docs/data.md", "flag | meaning")
    assert ["--separator", ";, |, ::, tab, space or any other text"] in rows
    with pytest.raises(LookupError):
        spans.table("docs/data.md", "flag | sense")


def test_fields_of_a_request():
    fields = {field.name for field in REQUEST_FIELDS}
    assert set(firsts("docs/requests.md", "key | meaning")) == fields


def test_codes_of_a_request_that_fails():
    for codes, statuses, _ in spans.table("docs/requests.md", "code over gRPC | HTTP | what to do"):
        told = [str(errors.error_response(Code[name], "").status_code) for name in names(codes)]
        assert told == names(statuses)


def test_checks_of_a_log():
    rows = spans.table("docs/validation.md", "measure | what | limit")
    assert [row[2] for row in rows] == list(ValidationConfig.__dataclass_fields__)


def test_parameters_of_features():
    rows = spans.table("docs/features.md", "kind | parameters")
    said = {kind: names(parameters) for kind, parameters in rows}
    assert said == {kind: list(known) for kind, known in FeatureColumn.PARAMETERS.items()}


def test_owners_of_features_and_kinds_of_attributes():
    assert firsts("docs/features.md", "owner | column of | enters | page") == list(OWNERS)
    kinds = [
        row[0].split()[0] for row in spans.table("docs/features.md", "kind | values in the file")
    ]
    assert kinds == list(ItemAttribute.KINDS)


def test_protocols():
    assert firsts("docs/training.md", "protocol | held out of each user") == list(
        IngestConfig.PROTOCOLS
    )


def test_strategies():
    heads = "`train.strategy` | what it is | `auto` takes it"
    assert {"auto", *firsts("docs/training_on_machines.md", heads)} == set(TrainConfig.STRATEGIES)


def test_markers_that_are_no_ids():
    rows = spans.table("docs/data.md", "found | what happens")
    listed = [row[0].partition(" (")[0] for row in rows if row[1] == "a bad row" and "(" in row[0]]
    listed += [row[0] for row in rows if row[0].startswith("undefined")]
    assert {name for cell in listed for name in names(cell)} == set(NULL_MARKERS)


def test_endings_of_files():
    said = {row[0]: row[1] for row in spans.table("docs/data.md", "kind | endings")}
    assert names(said["text"]) == list(text_format.ENDINGS)
    packed = said["the same, compressed"].removesuffix(" after it")
    assert names(packed) == list(compression.ENDINGS)
    assert set(names(said["Parquet"])) == set(parquet_files.ENDINGS)


def test_experiments():
    assert set(firsts("docs/experiments.md", "experiment | compares | on")) == set(
        catalogue.BUILDERS
    )


def test_the_list_of_pages():
    rows = spans.table("BUILD.md", "page | what it has")
    listed = {row[0].partition("](")[2].rstrip(")") for row in rows}
    pages = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}
    assert pages <= listed


def test_benchmarks():
    """Those that are programs, but for the clients of others; the rest is what they share."""
    programs = {
        path.stem
        for path in (ROOT / "tests" / "benchmarks").glob("*.py")
        if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
    }
    assert set(firsts("BUILD.md", "NAME | what it measures")) == programs - {"load"}


def test_rooms():
    for package in ("pipelines", "serving"):
        heading = f"### Rooms of `{package}/`\n"
        text = spans.prose(ROOT / "docs/design.md").partition(heading)[2]
        table = text.partition("| room | what it holds |\n")[2].partition("\n\n")[0]
        said = {name for row in table.splitlines()[1:] for name in names(row.split("|")[1])}
        rooms = {
            f"`{path.parent.relative_to(ROOT / package).as_posix()}/`"
            for path in (ROOT / package).rglob("*/__init__.py")
        }
        assert said == rooms - {"`commands/shared/`"}


def test_parts_of_a_report():
    texts = "\n".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "pipelines" / "reporting").rglob("*")
        if path.suffix in (".py", ".j2")
    )
    parts = [row[0] for row in spans.table("docs/training.md", "part | what it answers")]
    assert [part for part in parts if part not in texts] == []
    assert len(parts) == 11
