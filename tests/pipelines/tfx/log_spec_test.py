"""How a log is read survives the way through JSON."""

import pytest

from pipelines.ingestion.open_log import open_events
from pipelines.sources.columns.read_options import ReadOptions
from pipelines.sources.columns.where import Condition
from pipelines.sources.events import EventColumns
from pipelines.sources.items import ItemColumns, ItemsFile
from pipelines.sources.tables.text_format import TextOptions
from pipelines.tfx.log_spec import LogSpec, items_from_json, items_to_json
from recall.config import RecallConfig
from recall.errors import InputError

TEXT = TextOptions(("a", "b", "when"), "::", False, "\\", "latin-1", "")
SPEC = LogSpec(
    "ratings.dat",
    EventColumns("a", "b", "when", "part"),
    "datasets",
    ReadOptions("ms", "%d.%m.%Y", "ids"),
    TEXT,
    (Condition("event", ("buy", "cart"), True), Condition("bot", ("1",), False)),
)
ITEMS = ItemsFile("items.csv", ItemColumns("b", "genres", "name", ";"), TEXT)


def test_every_value_of_a_log_comes_back():
    assert LogSpec.from_json(SPEC.to_json()) == SPEC


@pytest.mark.parametrize(
    ("columns", "settings", "what"),
    [
        (EventColumns(event_type="kind"), [], "--event_type_column=kind"),
        (EventColumns(weight="w"), [], "--weight_column=w"),
        (
            EventColumns(),
            ['features.columns=[{"name": "age", "owner": "user", "kind": "numeric"}]'],
            "the feature 'age' of owner user",
        ),
        (
            EventColumns(),
            ['features.columns=[{"name": "at", "owner": "request", "kind": "timestamp"}]'],
            "the feature 'at' of owner request",
        ),
    ],
)
def test_what_a_pipeline_does_not_pass_on_is_refused(columns, settings, what):
    with pytest.raises(InputError, match=f"lack {what}. Use `recall run`"):
        LogSpec("log.csv", columns).check(RecallConfig().override(settings))


def test_features_of_items_and_splits_are_passed_on():
    settings = ["model.use_categories=true"]
    LogSpec("log.csv", EventColumns(split="part")).check(RecallConfig().override(settings))


def test_every_value_of_an_items_file_comes_back():
    assert items_from_json(items_to_json(ITEMS)) == ITEMS
    assert items_from_json(items_to_json(None)) is None


def test_the_fields_are_those_of_the_door_to_logs(tmp_path):
    """A setting that is added there is passed on here."""
    (tmp_path / "log.txt").write_text("u;i;t;event\na;x;1;view\nb;y;2;buy\n")
    how = {
        "columns": EventColumns("u", "i", "t"),
        "text": TextOptions(separator=";"),
        "where": (Condition("event", ("buy",), True),),
    }
    spec = LogSpec(str(tmp_path / "log.txt"), **how)
    opened = LogSpec.from_json(spec.to_json()).open()
    assert opened.fingerprint() == open_events(spec.spec, **how).fingerprint()
    (batch,) = opened.read_batches()
    assert batch["user_id"].to_pylist() == ["b"]
