"""Ids that stand for a missing value, and ids that are probably one."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.ingestion import ingest, sequences
from pipelines.ingestion import report as ingest_report
from pipelines.ingestion.open_log import open_events
from pipelines.sources.columns import id_checks
from pipelines.sources.columns.read_options import ReadOptions
from pipelines.sources.events import EventColumns
from pipelines.training import trainer
from recall.config import RecallConfig
from recall.errors import InputError

MARKERS = ["nan", "NaN", "None", "NULL", "null", "NA", "<NA>", "\\N"]
USERS, ITEMS = ("u1", "u2", "u3"), ("a", "b", "c", "d")


def write_log(path, extra=(), users=USERS, items=ITEMS):
    rows = [(user, item, at) for user in users for at, item in enumerate(items, start=1)]
    lines = [f"{user},{item},{at}\n" for user, item, at in [*rows, *extra]]
    path.write_text("user_id,item_id,timestamp\n" + "".join(lines), encoding="utf-8")
    return str(path)


def report_of(log, tmp_path, items_path=None, max_bad_rows=0, settings=()):
    """The report of an ingest, and its lines."""
    report = ingest.run_ingest(
        open_events(str(log)),
        None if items_path is None else str(items_path),
        tmp_path / "examples",
        RecallConfig().override(["ingest.num_shards=3", *settings]),
        max_bad_rows=max_bad_rows,
    )
    return report, ingest_report.report_lines(report)


@pytest.mark.parametrize("marker", MARKERS)
def test_a_marker_of_a_missing_id_is_a_bad_row(tmp_path, marker):
    log = write_log(tmp_path / "log.csv", [(marker, "a", 9), ("u1", marker, 9)])
    with pytest.raises(InputError) as info:
        list(open_events(log).read_batches())
    assert "Data row 13" in str(info.value)
    assert f"{marker!r}: a marker of a missing user id" in str(info.value)
    assert "--null_markers=ids" in str(info.value)

    source = open_events(log)
    assert sum(batch.num_rows for batch in source.read_batches(max_bad_rows=2)) == 12
    assert [bad["count"] for bad in source.bad_rows.to_dict().values()] == [1, 1]

    source = open_events(log, options=ReadOptions(null_markers="ids"))
    (batch,) = source.read_batches()
    assert batch.num_rows == 14
    assert batch["item_id"].to_pylist()[-1] == marker


def test_markers_are_found_in_parquet_and_counted_in_the_report(tmp_path):
    users = [*["u1"] * 4, *["u2"] * 4, "nan", "nan", "u3"]
    items = [*"abcdabcdab", "None"]
    table = pa.table({"user_id": users, "item_id": items, "timestamp": range(11)})
    pq.write_table(table, tmp_path / "log.parquet")
    report, lines = report_of(tmp_path / "log.parquet", tmp_path, max_bad_rows=3)
    assert report["dropped"]["bad_rows"]["rows"] == 3
    assert report["kept"] == {"users": 2, "items": 4, "events": 8}
    assert any("2 bad rows (a marker of a missing user id" in line for line in lines)


def test_an_unknown_choice_is_refused():
    with pytest.raises(InputError, match="--null_markers=drop is unknown"):
        ReadOptions(null_markers="drop")


@pytest.mark.parametrize(
    ("ids", "plain"),
    [
        (["12", "12.0", "12.00", "012", "0012", "+12", " 12", "12\u00a0", "\ufeff12"], "12"),
        (["0", "00", "0.0", "000.0"], "0"),
        (["-7", "-07", "-7.0"], "-7"),
        (["ab", " ab ", "\tab"], "ab"),
    ],
)
def test_ids_that_look_alike_have_one_plain_id_and_one_shard(ids, plain):
    assert set(id_checks.plain_ids(pa.array(ids)).to_pylist()) == {plain}
    assert len(set(sequences.user_shards(pa.array(ids), 1 << 20).tolist())) == 1
    found = id_checks.find_look_alikes(pa.array([*ids, "other"]))
    assert found == {"ids": len(ids), "groups": 1, "example": ids[:3]}


def test_other_ids_do_not_look_alike():
    ids = pa.array(["12", "12.5", "1200", "120", "AB", "ab", "0x12", "1e2", "a b", "a  b", "007"])
    assert id_checks.find_look_alikes(ids) == {"ids": 0, "groups": 0, "example": []}


def test_look_alikes_of_users_and_items_are_reported(tmp_path):
    extra = [(" u1", "a", 1), (" u1", "12", 2), ("u2", "12.0", 7), ("u3 ", "0012", 8)]
    report, lines = report_of(write_log(tmp_path / "log.csv", extra), tmp_path)
    assert report["similar_ids"]["users"]["ids"] == 4
    assert report["similar_ids"]["users"]["groups"] == 2
    items = report["similar_ids"]["items"]
    assert (items["ids"], items["groups"], sorted(items["example"])) == (
        3,
        1,
        ["0012", "12", "12.0"],
    )
    (line,) = (line for line in lines if "item ids" in line)
    assert line.startswith("Warning: 3 item ids would be 1")
    assert "'0012' and '12' and '12.0'" in line


def test_a_usual_log_has_no_warning(tmp_path):
    report, lines = report_of(write_log(tmp_path / "log.csv"), tmp_path)
    assert report["similar_ids"]["items"]["ids"] == 0
    assert not any("Warning" in line for line in lines)


def write_items(path, ids):
    path.write_text("item_id,category\n" + "".join(f"{item},x\n" for item in ids))
    return path


def test_an_items_file_of_other_items_is_a_warning_with_an_id_of_each_side(tmp_path):
    log = write_log(tmp_path / "log.csv", items=("1", "2", "3", "4"))
    items = write_items(tmp_path / "items.csv", ["0001", "0002", "0009"])
    report, lines = report_of(log, tmp_path, items)
    assert report["items_file"] == {"items": 3, "matched": 0}
    assert report["unmatched_items"] == {
        "unmatched": 4,
        "matched_plain": 2,
        "only_in_log": "1",
        "only_in_file": "0001",  # the same item, were it not for the zeros
    }
    (line,) = (line for line in lines if "items file" in line)
    assert line.startswith("Warning: 0 of the log's 4 items (0%)")
    assert "'1', while the file has '0001'. 2 would match" in line


def test_an_items_file_of_other_items_is_an_error_where_a_model_needs_it(tmp_path):
    log = write_log(tmp_path / "log.csv", items=("1", "2", "3", "4"))
    items = write_items(tmp_path / "items.csv", ["0001"])
    with pytest.raises(InputError) as info:
        report_of(log, tmp_path, items, settings=["model.use_categories=true"])
    assert "the log has '1', the file has '0001'" in str(info.value)
    assert not (tmp_path / "examples").exists()
    items = write_items(tmp_path / "items.csv", ["0001", "1"])
    report, _ = report_of(log, tmp_path, items, settings=["model.use_categories=true"])
    assert report["items_file"]["matched"] == 1


def test_a_model_with_categories_is_not_trained_without_any(tmp_path):
    report_of(write_log(tmp_path / "log.csv"), tmp_path)
    config = RecallConfig().override(["model.use_categories=true"])
    with pytest.raises(InputError, match=r"made with other item features \(none\)"):
        trainer.train_and_evaluate(config, tmp_path / "examples", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_markers_as_categories_are_counted(tmp_path):
    (tmp_path / "items.csv").write_text("item_id,category\na,nan\nb,x|NULL|nan\nc,x\nd,\n")
    report, lines = report_of(write_log(tmp_path / "log.csv"), tmp_path, tmp_path / "items.csv")
    assert report["marked_categories"] == {"items": 2, "example": "nan"}
    (line,) = (line for line in lines if "as category" in line)
    assert line.startswith("Warning: 2 items of the items file")


def test_most_items_in_the_file_is_no_warning_but_a_line(tmp_path):
    items = write_items(tmp_path / "items.csv", ["a", "b", "c", "z"])
    _, lines = report_of(write_log(tmp_path / "log.csv"), tmp_path, items)
    (line,) = (line for line in lines if "items file" in line)
    assert line.startswith("3 of the log's 4 items (75%) are in the items file")
    assert "'d'" in line


def test_nearly_all_items_in_the_file_are_not_all(tmp_path):
    items = [f"i{number}" for number in range(201)]
    log = write_log(tmp_path / "log.csv", items=items)
    _, lines = report_of(log, tmp_path, write_items(tmp_path / "items.csv", items[1:]))
    (line,) = (line for line in lines if "items file" in line)
    assert line.startswith("200 of the log's 201 items (99%) are in the items file")


def test_a_split_column_that_is_not_used_is_said_and_not_read(tmp_path):
    rows = "".join(f"{u},{i},{at},fold{at}\n" for u in USERS for at, i in enumerate(ITEMS))
    (tmp_path / "log.csv").write_text("user_id,item_id,timestamp,split\n" + rows)
    report, lines = report_of(tmp_path / "log.csv", tmp_path)
    assert report["kept"]["events"] == 12
    (line,) = (line for line in lines if "'split'" in line)
    assert "ingest.protocol=provided" in line
    settings = RecallConfig().override(["ingest.protocol=provided"])
    with pytest.raises(InputError, match="a split must be one of"):
        ingest.run_ingest(open_events(str(tmp_path / "log.csv")), None, tmp_path / "x", settings)
    source = open_events(str(tmp_path / "log.csv"), EventColumns(split=""))
    report = ingest.run_ingest(source, None, tmp_path / "y", RecallConfig())
    assert "ignored_split_column" not in report


def test_markers_with_blanks_around_them():
    ids = pa.array([" NULL", "NULL ", "\tnan\t", "N ULL", " ", None, "\u00a0NaN"])
    assert id_checks.is_null_marker(ids).tolist() == [True, True, True, False, False, False, True]
