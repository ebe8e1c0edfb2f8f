"""Ids of every type of Parquet as text."""

import decimal
import uuid

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.ingestion.open_log import open_events
from pipelines.sources.columns.column_types import to_text
from recall.errors import InputError

IDS = ["00112233-4455-6677-8899-aabbccddeeff", "ffffffff-0000-0000-0000-00000000000a"]
BYTES = [uuid.UUID(text).bytes for text in IDS]
BIG = 2**127 + 1


@pytest.mark.parametrize(
    ("array", "texts"),
    [
        (pa.array([10**37 + 1, None], pa.decimal128(38, 0)), [str(10**37 + 1), None]),
        (pa.array([BIG, -5], pa.decimal256(40, 0)), [str(BIG), "-5"]),
        (pa.array([decimal.Decimal("1.2E+3")], pa.decimal128(5, -2)), ["1200"]),
        (pa.array([*BYTES, None], pa.uuid()), [*IDS, None]),
        (pa.array([BYTES[0], None, BYTES[1]], pa.binary(16)), [IDS[0], None, IDS[1]]),
        (pa.array([], pa.uuid()), []),
        (pa.array([2**64 - 1, None], pa.uint64()), ["18446744073709551615", None]),
        (pa.array(["a", None], pa.string_view()), ["a", None]),
        (pa.array(["a", "b", "a"], pa.large_string()).dictionary_encode(), ["a", "b", "a"]),
    ],
)
def test_ids(tmp_path, array, texts):
    assert to_text(array, "f", "c").to_pylist() == texts
    assert to_text(array[1:], "f", "c").to_pylist() == texts[1:]


@pytest.mark.parametrize("kind", [pa.decimal128(10, 2), pa.binary(15), pa.float32(), pa.bool_()])
def test_types_that_are_no_ids(kind):
    with pytest.raises(InputError, match=r"f: column 'c' has the type .* whole numbers are wanted"):
        to_text(pa.array([None], kind), "f", "c")


def test_a_file_of_uuids_and_decimals(tmp_path):
    table = pa.table(
        {
            "user_id": pa.array(BYTES, pa.uuid()),
            "item_id": pa.array([BIG, 7], pa.decimal256(40, 0)),
            "timestamp": [1.0, 2.0],
        }
    )
    pq.write_table(table, tmp_path / "log.parquet")
    (batch,) = open_events(str(tmp_path / "log.parquet")).read_batches()
    assert batch["user_id"].to_pylist() == IDS
    assert batch["item_id"].to_pylist() == [str(BIG), "7"]
