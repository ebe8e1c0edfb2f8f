"""Outputs that are not replaced, and publication that is whole or not at all."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.inference import work_folder
from pipelines.inference.output import Output
from pipelines.inference.work_folder import OutputPart, open_work
from recall.errors import InputError

RECORD = {"job": "recommend", "settings": {"k": 3}}
SCHEMA = pa.schema([("n", pa.int64())])


def read(output):
    path = output.path if output.is_file else output.path / "data"
    return pq.read_table(path)["n"].to_pylist()


def make_parts(work, num_parts=3):
    parts = [OutputPart(n, (), 2) for n in range(num_parts)]
    for part in parts:
        table = pa.table({"n": [2 * part.number, 2 * part.number + 1]})
        counts = {"answered": 2, "skipped": part.number}
        work_folder.write_table_file(work.part_path(part), SCHEMA, [table], counts)
    work.mark_prepared({})
    return parts


def publish(output, num_parts=3):
    with open_work(output.path, RECORD) as work:
        output.publish(work, make_parts(work, num_parts), {})


@pytest.mark.parametrize("name", ["result", "result.parquet", "RESULT.PARQUET"])
def test_parts_in_order_and_the_sum_of_their_counts(tmp_path, name):
    output = Output(tmp_path / name, RECORD)
    assert not output.is_current()
    with open_work(output.path, RECORD) as work:
        counts = output.publish(work, make_parts(work), {"users": 6})
    assert counts == {"users": 6, "answered": 6, "skipped": 3} == output.read_counts()
    assert read(output) == list(range(6))
    assert Output(output.path, RECORD).is_current()
    other = {**RECORD, "settings": {"k": 4}}
    assert not Output(output.path, other).is_current()
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]


def test_a_file_of_somebody_else_is_never_replaced(tmp_path):
    path = tmp_path / "mine.parquet"
    pq.write_table(pa.table({"n": [1]}), path)
    with pytest.raises(InputError, match="was not made by `recall recommend`"):
        Output(path, RECORD, overwrite=True)
    path.write_text("no parquet")
    with pytest.raises(InputError, match="was not made by `recall recommend`"):
        Output(path, RECORD, overwrite=True)


def test_folders_are_refused_where_a_file_is_wanted_and_the_other_way_round(tmp_path):
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        Output(tmp_path / "folder.parquet", RECORD)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is the current folder"):
        Output(".", RECORD)
    with pytest.raises(InputError, match="is a file"):
        Output(tmp_path / "file", RECORD)


def test_a_publication_that_fails_leaves_the_old_result_and_the_parts(tmp_path, monkeypatch):
    output = Output(tmp_path / "result", RECORD)
    publish(output, 1)
    with monkeypatch.context() as patched:
        patched.setattr("pipelines.inference.output.records.write_record", None)
        with pytest.raises(TypeError):
            publish(output)
    assert read(output) == [0, 1]
    with open_work(output.path, RECORD) as work:
        parts = [OutputPart(number, (), 2) for number in range(3)]
        assert all(work.has(part) for part in parts)
        output.publish(work, parts, {})
    assert read(output) == list(range(6))
