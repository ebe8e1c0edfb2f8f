"""How far a source has read its files: grows to 1, whatever the files are packed as."""

import bz2
import gzip
import lzma

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.sources.file_source import FileSource
from pipelines.sources.tables import compression, csv_files, parquet_files

NUM_ROWS = 20_000


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """A short file is then read in as many parts as a long one."""
    monkeypatch.setattr(csv_files, "_BLOCK_BYTES", 1 << 15)
    monkeypatch.setattr(compression, "_COMPRESSED_BYTES", 1 << 14)
    monkeypatch.setattr(parquet_files, "_BATCH_ROWS", 1 << 12)


def columns():
    """Rows that gzip cannot make small, so that a file has many parts."""
    rows = range(NUM_ROWS)
    return {
        "user_id": [f"u{row * 7919 % 99_991}" for row in rows],
        "item_id": [f"i{row * 104_729 % 99_989}" for row in rows],
        "timestamp": [1_700_000_000 + row * 31 % 86_400 for row in rows],
    }


def write(folder, ending):
    path = folder / f"log{ending}"
    table = columns()
    if ending == ".parquet":
        pq.write_table(pa.table(table), path)
        return path
    lines = map(",".join, zip(*(map(str, values) for values in table.values()), strict=True))
    text = "\n".join(["user_id,item_id,timestamp", *lines, ""]).encode()
    pack = {".csv": bytes, ".csv.gz": gzip.compress, ".csv.bz2": bz2.compress}
    path.write_bytes(pack.get(ending, lzma.compress)(text))
    return path


def shares_of(source):
    assert source.share_read is None
    return [source.share_read for _ in source.read_batches()]


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".csv.bz2", ".csv.xz", ".parquet"])
def test_the_share_grows_to_one(tmp_path, ending):
    shares = shares_of(FileSource(str(write(tmp_path, ending))))
    assert len(shares) > 1
    assert shares == sorted(shares)
    assert 0 < shares[0] <= 1
    assert shares[-1] == pytest.approx(1.0)


def test_several_files_count_by_their_bytes(tmp_path):
    write(tmp_path, ".csv")
    (tmp_path / "small.csv").write_text("user_id,item_id,timestamp\nu1,i1,1700000000\n")
    shares = shares_of(FileSource(str(tmp_path)))
    assert shares == sorted(shares)
    assert 0.9 < shares[-2] < 1
    assert shares[-1] == pytest.approx(1.0)
