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
    work_folder.write_table_file(work.part_path(work.parts()[1]), SCHEMA, finished)
    (work.path / "parts" / ".00002.parquet.12345678.partial").write_text("half")
    raise Killed


def begin(output):
    with pytest.raises(Killed), open_work(output, RECORD) as work:
        break_off(work)


def test_every_row_group_is_a_part(tmp_path):
    begin(tmp_path / "out")
    with open_work(tmp_path / "out", RECORD) as work:
        assert work.parts() == [
            OutputPart(0, "a.parquet", 0, 2),
            OutputPart(1, "a.parquet", 1, 2),
            OutputPart(2, "a.parquet", 2, 1),
        ]
        assert work.read_input(work.parts()[1])["n"].to_pylist() == [2, 3]


def test_the_same_job_finds_what_is_finished(tmp_path):
    begin(tmp_path / "out")
    with open_work(tmp_path / "out", RECORD) as work:
        assert work.prepared == {"items": 5}
        assert [work.has(part) for part in work.parts()] == [False, True, False]
        assert not list(work.path.rglob("*.partial"))
        path = work.path
    assert not path.exists()


def test_another_job_begins_anew(tmp_path):
    begin(tmp_path / "out")
    with open_work(tmp_path / "out", {"job": "similar", "settings": 1}) as work:
        assert work.prepared is None
        assert work.parts() == []
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
