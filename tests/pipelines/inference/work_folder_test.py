"""What a killed job leaves, and who may go on with it."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.inference import work_folder
from pipelines.inference.work_folder import OutputPart, open_work
from recall.errors import InputError

RECORD = {"job": "similar"}
SCHEMA = pa.schema([("n", pa.int64())])


class Killed(Exception):
    pass


def break_off(work):
    """Leaves a part, half of another, and prepared inputs."""
    inputs, finished = [pa.table({"n": range(5)})], [pa.table({"n": [2, 3]})]
    path = work.inputs / "a.parquet"
    work_folder.write_table_file(path, SCHEMA, inputs, row_group_size=2)
    work.mark_prepared({"items": 5})
    work_folder.write_table_file(work.part_path(work.parts(2)[1]), SCHEMA, finished)
    (work.path / "parts" / ".00002.parquet.12345678.partial").write_text("half")
    raise Killed


def begin(output):
    with pytest.raises(Killed), open_work(output, RECORD) as work:
        break_off(work)


def test_every_row_is_in_a_part(tmp_path):
    begin(tmp_path / "out")
    with open_work(tmp_path / "out", RECORD) as work:
        for name, rows in (("b", [5]), ("c", []), ("d", [6])):
            tables = [pa.table({"n": pa.array(rows, pa.int64())})]
            work_folder.write_table_file(work.inputs / f"{name}.parquet", SCHEMA, tables)
        a, b, d = (f"{name}.parquet" for name in "abd")
        # Row groups of 2, 2, 1, 1 and 1 rows.
        assert work.parts(2) == [
            OutputPart(0, ((a, 0),), 2),
            OutputPart(1, ((a, 1),), 2),
            OutputPart(2, ((a, 2), (b, 0)), 2),
            OutputPart(3, ((d, 0),), 1),
        ]
        assert [part.num_rows for part in work.parts(4)] == [4, 3]
        (whole,) = work.parts(1000)
        assert work.read_input(whole)["n"].to_pylist() == [0, 1, 2, 3, 4, 5, 6]


def test_the_same_job_finds_what_is_finished(tmp_path):
    begin(tmp_path / "out")
    with open_work(tmp_path / "out", RECORD) as work:
        assert work.prepared == {"items": 5}
        assert [work.has(part) for part in work.parts(2)] == [False, True, False]
        assert not list(work.path.rglob("*.partial"))
        path = work.path
    assert not path.exists()


def test_another_job_begins_anew(tmp_path):
    begin(tmp_path / "out")
    with open_work(tmp_path / "out", {"job": "similar", "settings": 1}) as work:
        assert work.prepared is None
        assert work.parts(2) == []
        assert not list(work.path.glob("parts/*"))


def test_a_damaged_record_begins_anew(tmp_path):
    begin(tmp_path / "out")
    (tmp_path / ".out.work" / "started.json").write_text("{")
    with open_work(tmp_path / "out", RECORD) as work:
        assert work.prepared is None


def test_two_at_once_are_refused(tmp_path):
    with open_work(tmp_path / "out", RECORD):
        message = "Another process is writing .*out"
        with pytest.raises(InputError, match=message), open_work(tmp_path / "out", RECORD):
            pass


def test_a_file_is_whole_or_not_there(tmp_path):
    def tables():
        yield pa.table({"n": [1]})
        raise Killed

    with pytest.raises(Killed):
        work_folder.write_table_file(tmp_path / "x.parquet", SCHEMA, tables())
    assert list(tmp_path.iterdir()) == []


def test_counts_are_those_when_the_last_table_was_written(tmp_path):
    counts = {}

    def tables():
        for number in range(3):
            counts["tables"] = number + 1
            yield pa.table({"n": [number]})

    path = tmp_path / "x.parquet"
    work_folder.write_table_file(path, SCHEMA, tables(), counts)
    assert work_folder.read_counts(path) == {"tables": 3}
    assert pq.read_metadata(path).num_row_groups == 3
