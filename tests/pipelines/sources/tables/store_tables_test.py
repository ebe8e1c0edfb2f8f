"""Tables in a real S3 server: the files, rows and parts are those of the same tables here."""

import gzip
import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.sources.columns.bad_rows import BadRows
from pipelines.sources.file_source import FileSource
from pipelines.sources.tables import file_parts, table_files
from recall.errors import InputError
from serving.stores import copies

ROWS = [(f"u{row % 7}", f"i{row % 11}", str(1_700_000_000 + row)) for row in range(300)]
HEADER = "user_id,item_id,timestamp\n"


def as_csv(rows) -> str:
    return HEADER + "".join(",".join(row) + "\n" for row in rows)


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A folder with each kind of file, folders whose names are columns, and others' files."""
    folder = tmp_path_factory.mktemp("log")
    parts = np.array_split(np.array(ROWS), 5)
    (folder / "day=1").mkdir()
    (folder / "day=2").mkdir()
    (folder / "_temporary").mkdir()
    (folder / "day=1" / "a.csv").write_text(as_csv(parts[0]))
    (folder / "day=1" / "b c.csv.gz").write_bytes(gzip.compress(as_csv(parts[1]).encode()))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("inner.csv", as_csv(parts[2]))
    (folder / "day=2" / "c.csv.zip").write_bytes(packed.getvalue())
    columns = dict(zip(("user_id", "item_id", "timestamp"), parts[3].T, strict=True))
    pq.write_table(pa.table(columns), folder / "day=2" / "d.parquet", row_group_size=10)
    (folder / "day=2" / "e.tsv").write_text(as_csv(parts[4]).replace(",", "\t"))
    (folder / "_temporary" / "x.csv").write_text("a,b\n")
    (folder / "day=1" / ".hidden.csv").write_text("a,b\n")
    (folder / "day=2" / "_SUCCESS").write_text("")
    return folder


@pytest.fixture
def log(local, bucket):
    """The same folder in the store."""
    for path in local.rglob("*"):
        if path.is_file():
            copies.upload(path, f"{bucket}/log/{path.relative_to(local).as_posix()}")
    return f"{bucket}/log"


def names(files, folder) -> list[str]:
    return [str(file).removeprefix(f"{folder}/") for file in files]


def read(source) -> list[tuple]:
    """User, item, time of every row that the source yields."""
    found = []
    for batch in source._raw_batches(BadRows()):
        columns = [batch.columns[name].cast(pa.string()) for name in ("user_id", "item_id")]
        found += zip(*(c.to_pylist() for c in columns), batch.rows.tolist(), strict=True)
    return found


@pytest.mark.parametrize("pattern", ["", "/day=2", "/*/*.csv*", "/**/?.tsv", "/day=[!2]/*.gz"])
def test_the_same_files(local, log, pattern):
    here = names(table_files.list_files(f"{local}{pattern}"), local)
    assert names(table_files.list_files(f"{log}{pattern}"), log) == here
    assert here


def test_the_same_rows(local, log):
    assert read(FileSource(log)) == read(FileSource(str(local)))
    assert sorted(row[:2] for row in read(FileSource(log))) == sorted(row[:2] for row in ROWS)


def test_columns_in_the_names_of_folders(log):
    tables = table_files.open_tables(log)
    assert [table.partitions for table in tables] == [{"day": "1"}] * 2 + [{"day": "2"}] * 3
    (table,) = table_files.open_tables(f"{log}/day=1/a.csv")
    assert table.partitions == {}


def test_row_groups_are_parts(log, monkeypatch):
    monkeypatch.setattr(file_parts, "PART_ROWS", 25)
    (table,) = table_files.open_tables(f"{log}/day=2/d.parquet")
    parts = table.parts()
    assert [(part.start, part.stop, part.first_row) for part in parts] == [(0, 3, 0), (3, 6, 30)]
    rows = [rows for part in parts for rows, _ in table.read_rows(["user_id"], BadRows(), part)]
    assert np.concatenate(rows).tolist() == list(range(60))


def test_text_of_a_store_is_one_part(log, monkeypatch):
    """Ends of lines are not looked for: that would be to read all of it twice."""
    monkeypatch.setattr(file_parts, "PART_BYTES", 100)
    (table,) = table_files.open_tables(f"{log}/day=1/a.csv")
    assert table.parts() == [file_parts.WHOLE_FILE]


def test_the_fingerprint_changes_with_the_files(s3, log):
    def fingerprint():
        return FileSource(log).fingerprint()

    first = fingerprint()
    assert fingerprint() == first
    s3.put(f"{log}/day=1/a.csv", as_csv(ROWS[:60]).encode())
    assert fingerprint() == first  # The same bytes, written again.
    s3.put(f"{log}/day=1/a.csv", as_csv(ROWS[1:61]).encode())
    second = fingerprint()
    assert second != first  # As many bytes, but others.
    s3.put(f"{log}/day=3/z.csv", as_csv(ROWS[:1]).encode())
    assert fingerprint() not in (first, second)


def test_a_mind_log(s3, bucket, tmp_path):
    from pipelines.ingestion.open_log import open_events

    line = "1\tU1\t11/11/2019 9:05:58 AM\tN1 N2\tN3-1 N4-0\n"
    s3.put(f"{bucket}/behaviors.tsv", line.encode())
    source = open_events(f"mind:{bucket}/behaviors.tsv")
    assert [len(batch.rows) for batch in source._raw_batches(BadRows())] == [3]


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        (None, None, "{log}/x does not exist. Check the path."),
        ("x/a.csv.gz", b"plain", "{log}/x/a.csv.gz is not gzip. Compress it, or drop .gz"),
        ("x/a.csv.gz", b"", "{log}/x/a.csv.gz is empty: 0 bytes. Make it again."),
        ("x/a.csv.zip", b"PK", "{log}/x/a.csv.zip is not a whole zip file."),
        ("x/a.parquet", b"PAR1", "{log}/x/a.parquet is not a whole Parquet file: "),
        ("x/a.csv", b"", "{log}/x/a.csv is empty. Its first line must name the columns."),
        ("x/a.txt", b"a", "The folder {log}/x holds no table (.csv"),
        ("x", b"a", "{log}/x is of an unknown format. Its name must end with: "),
        ("x/a.csv.gz", gzip.compress(as_csv(ROWS).encode())[:-50], "is cut off inside its gzip"),
        ("x/a.csv", b"user_id,item_id\nu,i\n", "{log}/x/a.csv lacks the column 'timestamp'"),
    ],
)
def test_errors_name_the_object(s3, bucket, name, content, error):
    log = f"{bucket}/log"
    if name is not None:
        s3.put(f"{log}/{name}", content)
    with pytest.raises(InputError) as caught:
        read(FileSource(f"{log}/x"))
    assert error.format(log=log) in str(caught.value)


def test_a_store_that_goes_away_while_it_is_read(log, monkeypatch):
    source = FileSource(f"{log}/day=2/d.parquet")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("serving.stores.filesystems._RETRIES", 0)
    with pytest.raises(InputError, match=r"d\.parquet: the store does not answer \("):
        read(source)


@pytest.fixture
def examples_of(tmp_path, monkeypatch):
    """Ingests a log into a folder; the bytes of its files by name."""
    from pipelines import cli

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def ingest(events: str, *more: str) -> dict[str, bytes]:
        output = tmp_path / "examples"
        shutil.rmtree(output, ignore_errors=True)
        assert cli.main(["ingest", f"--events={events}", f"--output={output}", *more]) == 0
        return {
            path.relative_to(output).as_posix(): path.read_bytes()
            for path in Path(output).rglob("*")
            if path.suffix in (".gz", ".parquet", ".pbtxt", ".tfrecord")
        }

    return ingest


def test_examples_are_those_of_the_local_log(local, log, examples_of, s3, bucket):
    s3.put(f"{bucket}/items.csv", b"item_id,category\ni1,a|b\n")
    (local.parent / "items.csv").write_bytes(s3.get(f"{bucket}/items.csv"))
    there = examples_of(log, f"--items={bucket}/items.csv")
    here = examples_of(str(local), f"--items={local.parent / 'items.csv'}")
    assert there == here
    assert {"vocabulary.parquet"} < set(there)
