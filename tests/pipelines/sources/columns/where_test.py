"""--where: rows that are no events are left out and counted."""

import datetime
from decimal import Decimal as D

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.ingestion import ingest
from pipelines.ingestion.open_log import open_events
from pipelines.sources.columns.where import Condition, parse_conditions
from recall.config import RecallConfig
from recall.errors import InputError

TEXT = """user_id,item_id,timestamp,event,price
u1,a,1,view,1
u1,b,2,purchase,2
u1,,x,view,2
u2,a,3,cart,1
u2,b,4,,1
"""


def read(spec, *texts):
    source = open_events(str(spec), where=parse_conditions(texts))
    rows = [row["row"] for batch in source.read_batches() for row in batch.to_pylist()]
    return rows, source.rows_left_out


@pytest.fixture
def log(tmp_path):
    (tmp_path / "log.csv").write_text(TEXT)
    return tmp_path / "log.csv"


def test_forms():
    assert parse_conditions(["a=b|c,d != e", "f="]) == (
        Condition("a", ("b", "c"), True),
        Condition("d", ("e",), False),
        Condition("f", ("",), True),
    )
    assert parse_conditions([r"a=b\, c|d\|e,f=g"]) == (
        Condition("a", ("b, c", "d|e"), True),
        Condition("f", ("g",), True),
    )
    for text in ("a", "=b", "a>3", "", "a<=4"):
        with pytest.raises(InputError, match="is no condition"):
            parse_conditions([text])


@pytest.mark.parametrize(
    ("conditions", "rows"),
    [
        (["event=purchase"], [1]),
        (["event=purchase|cart"], [1, 3]),
        (["event!=view"], [1, 3, 4]),
        (["event!=view,price=1"], [3, 4]),
        (["event!=view", "price=1"], [3, 4]),
        (["event="], [4]),
        (["user_id=u2"], [3, 4]),
    ],
)
def test_rows_left_out_are_counted_and_not_checked(log, conditions, rows):
    # Row 2 is bad; it is no error where it is left out.
    assert read(log, *conditions) == (rows, 5 - len(rows))


def test_a_comma_of_a_value(tmp_path):
    rows = 'u,a,1,"Toys, new"\nu,b,2,Toys\nu,c,3,"Toys, new"\n'
    (tmp_path / "log.csv").write_text("user_id,item_id,timestamp,kind\n" + rows)
    assert read(tmp_path / "log.csv", r"kind=Toys\, new") == ([0, 2], 1)


def test_a_column_that_is_not_there(log):
    with pytest.raises(InputError, match=r"lacks the column 'kind'; its columns are: 'user_id'"):
        read(log, "kind=x")
    with pytest.raises(InputError, match="has no column 'event' for --where"):
        read("synthetic:users=9,items=9", "event=x")


def test_the_conditions_are_part_of_what_a_log_is(log):
    prints = {
        open_events(str(log), where=parse_conditions(texts)).fingerprint()
        for texts in ([], ["event=cart"], ["event!=cart"])
    }
    assert len(prints) == 3


def test_the_report_of_ingest_counts_them(tmp_path, caplog):
    lines = [f"u{n % 4},i{n % 5},{n},{'view' if n % 3 else 'buy'}" for n in range(60)]
    path = tmp_path / "log.csv"
    path.write_text("user_id,item_id,timestamp,event\n" + "\n".join(lines) + "\n")
    config = RecallConfig().override(["ingest.min_item_events=1", "ingest.num_shards=1"])
    source = open_events(str(path), where=parse_conditions(["event=buy"]))
    with caplog.at_level("INFO"):
        report = ingest.run_ingest(source, None, tmp_path / "examples", config)
    assert report["left_out_by_where"] == 40
    assert report["events_read"] == 20
    assert "Left out 40 rows by --where." in caplog.text


def test_types_of_parquet(tmp_path):
    day = datetime.date(2024, 1, 2)
    table = pa.table(
        {
            "user_id": ["u"] * 3,
            "item_id": ["a", "b", "c"],
            "timestamp": [1, 2, 3],
            "rating": [5.0, 4.5, None],
            "liked": [True, False, None],
            "count": pa.array([1, 2, None], pa.int8()),
            "day": [day, None, day],
            "price": pa.array([None, D("1.50"), D("-0.00")], pa.decimal128(10, 2)),
            "far": pa.array([1.5, None, float("nan")], pa.float32()).dictionary_encode(),
            "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
        }
    )
    pq.write_table(table, tmp_path / "log.parquet")
    for text, rows in {
        "rating=5|4": [0],
        "rating!=5": [1, 2],
        "liked=true": [0],
        "count=2": [1],
        "count=": [2],
        "day=2024-01-02": [0, 2],
        "kind=x": [0, 2],
        "rating=": [2],
        "rating!=": [0, 1],
        "rating=|5": [0, 2],
        "liked=": [2],
        "day=": [1],
        "kind=": [],
        "price=": [0],
        "price=1.5": [1],
        "price=1.50|0": [1, 2],
        "price!=1.500": [0, 2],
        "price=1.501": [],
        "far=": [1, 2],
        "far=1.5": [0],
    }.items():
        if rows:
            assert read(tmp_path / "log.parquet", text) == (rows, 3 - len(rows)), text
            continue
        with pytest.raises(InputError, match="--where leaves out 3 rows"):
            read(tmp_path / "log.parquet", text)
    with pytest.raises(InputError, match="column 'rating' holds numbers"):
        read(tmp_path / "log.parquet", "rating=good")
