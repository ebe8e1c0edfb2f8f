"""Text files as people have them: separators, headers, encodings, compressions."""

import bz2
import codecs
import gzip
import io
import lzma
import os
import re
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.ingestion.open_log import open_events
from pipelines.sources.events import EventColumns
from pipelines.sources.tables import compression, csv_files
from pipelines.sources.tables.text_format import TextOptions, parse_options
from recall.errors import InputError

ROWS = [("u1", "a", 10.0), ("u1", "b", 11.5), ("u2", "a", 3.0)]
HEADER = "user_id,item_id,timestamp\n"
BODY = "u1,a,10\nu1,b,11.5\nu2,a,3\n"
TEXT = HEADER + BODY


def write(path, data):
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return str(path)


def read(path, columns=EventColumns(), max_bad_rows=0, **options):  # noqa: B008
    source = open_events(path, columns, text=TextOptions(**options))
    rows = [row for batch in source.read_batches(max_bad_rows) for row in batch.to_pylist()]
    return [(row["user_id"], row["item_id"], row["timestamp"]) for row in rows]


def error_of(action, *args, **kwargs):
    with pytest.raises(InputError) as info:
        action(*args, **kwargs)
    assert "\n" not in str(info.value)
    return str(info.value)


def zst(data):
    return pa.compress(data, codec="zstd", asbytes=True)


def zipped(data, *names):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, data)
    return out.getvalue()


PACK = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zst}


@pytest.mark.parametrize("ending", PACK)
def test_compressions(tmp_path, ending):
    data = PACK[ending](TEXT.encode())
    assert read(write(tmp_path / f"log.csv{ending}", data)) == ROWS
    assert read(write(tmp_path / f"LOG.CSV{ending.upper()}", data)) == ROWS
    two = PACK[ending](HEADER.encode()) + PACK[ending](BODY.encode())
    assert read(write(tmp_path / f"two.csv{ending}", two)) == ROWS
    message = error_of(read, write(tmp_path / f"more.csv{ending}", data + b"more than a stream"))
    assert "more.csv" in message
    big = PACK[ending]((HEADER + "".join(f"u{i},a,{i * 7}\n" for i in range(50_000))).encode())
    message = error_of(read, write(tmp_path / f"cut.csv{ending}", big[:-20]))
    assert "cut off" in message
    message = error_of(read, write(tmp_path / f"plain.csv{ending}", TEXT))
    assert "is not" in message
    assert "drop" in message
    message = error_of(read, write(tmp_path / "named.csv", data))
    assert f"Name it named.csv{ending}" in message


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz"])
def test_zero_bytes_after_a_stream_are_padding(tmp_path, ending):
    first, second = (PACK[ending](text.encode()) for text in (HEADER, BODY))
    data = first + b"\0" * 512 + second + b"\0" * 10_000
    assert read(write(tmp_path / f"log.csv{ending}", data)) == ROWS
    assert "goes on" in error_of(read, write(tmp_path / f"x.csv{ending}", data + b"x"))


def open_files():
    """Files this process has open."""
    return {os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")}


def test_zip_holds_one_file(tmp_path):
    assert read(write(tmp_path / "log.csv.zip", zipped(TEXT, "d/log.csv"))) == ROWS
    assert read(write(tmp_path / "log.zip", zipped(TEXT, "log.csv"))) == ROWS
    tabs = TEXT.replace(",", "\t")
    assert read(write(tmp_path / "LOG.ZIP", zipped(tabs, "log.TSV"))) == ROWS
    mac = zipped(TEXT, "log.csv", "__MACOSX/._log.csv")
    assert read(write(tmp_path / "mac.csv.zip", mac)) == ROWS
    message = error_of(read, write(tmp_path / "two.zip", zipped(TEXT, "a.csv", "b.csv")))
    assert "2 files ('a.csv', 'b.csv')" in message
    with compression.open_bytes(tmp_path / "log.zip") as stream:
        assert str(tmp_path / "log.zip") in open_files()
    assert stream.closed
    assert str(tmp_path / "log.zip") not in open_files()
    data = zipped(TEXT * 50, "log.csv")
    assert "not a whole zip" in error_of(read, write(tmp_path / "cut.zip", data[:-30]))
    damaged = data[:60] + b"\xff" * 20 + data[80:]
    assert "damaged zip" in error_of(read, write(tmp_path / "bad.zip", damaged))


@pytest.mark.parametrize(
    ("name", "separator"),
    [
        ("log.csv", ";"),
        ("log.csv", "\t"),
        ("log.csv", "|"),
        ("log.txt", "\t"),
        ("log.txt", ","),
        ("log.txt", " "),
        ("log.dat", "::"),
        ("log.data", "\t"),
        ("log.tsv", "\t"),
        ("log.inter", "\t"),
    ],
)
def test_separators_are_found(tmp_path, name, separator):
    path = write(tmp_path / name, TEXT.replace(",", separator))
    assert read(path) == ROWS


@pytest.mark.parametrize("separator", ["::", ";", "|", "\t", " ", "~~~"])
@pytest.mark.parametrize("block", [64, 4 << 20])
def test_separators_that_are_named_and_files_without_header(
    tmp_path, monkeypatch, separator, block
):
    monkeypatch.setattr(csv_files, "_BLOCK_BYTES", block)
    path = write(tmp_path / "log.dat", (BODY * 9).replace(",", separator))
    source = open_events(
        path,
        text=parse_options("", columns=["user_id", "item_id", "timestamp"], separator=separator),
    )
    rows = [row for batch in source.read_batches() for row in batch.to_pylist()]
    assert [(r["user_id"], r["item_id"], r["timestamp"]) for r in rows] == ROWS * 9
    assert [row["row"] for row in rows] == list(range(27))


def test_the_meaning_of_the_flags():
    assert parse_options("", separator="tab").separator == "\t"
    assert parse_options("", separator="\\t").separator == "\t"
    assert parse_options("", separator="space").separator == " "
    assert parse_options("", quoting="False").quoting is False
    assert "--items_separator" in error_of(parse_options, "items_", separator='"')
    assert "--items_quoting" in error_of(parse_options, "items_", quoting="maybe")
    assert "--escape" in error_of(parse_options, "", escape="ab")
    assert "--encoding='utf-9'" in error_of(parse_options, "", encoding="utf-9")
    assert "twice" in error_of(parse_options, "", columns=["a", "a"])


def test_columns_that_do_not_fit_and_a_header_after_all(tmp_path):
    names = ("user_id", "item_id", "timestamp")
    path = write(tmp_path / "log.csv", TEXT)
    source = open_events(path, text=TextOptions(columns=names))
    assert sum(batch.num_rows for batch in source.read_batches()) == 3
    message = error_of(open_events, path, text=TextOptions(columns=(*names, "split")))
    for part in ("--columns names 4", "has 3 fields", "','", "'user_id', 'item_id'"):
        assert part in message
    message = error_of(open_events, write(tmp_path / "none.csv", BODY))
    assert "'u1', 'a', '10'" in message
    assert "--columns" in message


def test_blanks_in_a_header_and_after_every_separator(tmp_path):
    path = write(tmp_path / "log.csv", "user_id, item_id, timestamp\nu1, a, 10\nu2, b c, 3\n")
    assert read(path) == [("u1", "a", 10.0), ("u2", "b c", 3.0)]
    path = write(tmp_path / "log.csv", "\ufeff user_id ,item_id\t,timestamp \nu1,a,10\n")
    assert read(path) == [("u1", "a", 10.0)]
    message = error_of(read, write(tmp_path / "log.csv", "user id,item_id,timestamp\nu,a,1\n"))
    assert "its columns are: 'user id', 'item_id', 'timestamp'" in message


def test_encodings(tmp_path):
    text = TEXT.replace("u2", "é2")
    expected = [*ROWS[:2], ("é2", "a", 3.0)]
    path = write(tmp_path / "log.csv", text.encode("latin-1"))
    assert "--encoding=latin-1" in error_of(read, path)
    source = open_events(path, text=TextOptions(encoding="latin-1"))
    assert [b["user_id"].to_pylist()[-1] for b in source.read_batches()][-1] == "é2"
    assert read(write(tmp_path / "log.csv", text.encode("utf-16"))) == expected
    assert read(write(tmp_path / "log.csv", text.encode("utf-8-sig"))) == expected
    assert read(write(tmp_path / "log.csv", text.encode("utf-32"))) == expected
    big_endian = codecs.BOM_UTF32_BE + text.encode("utf-32-be")
    assert read(write(tmp_path / "log.csv", big_endian)) == expected
    path = write(tmp_path / "log.csv", text)
    assert "not ascii text" in error_of(
        lambda: list(open_events(path, text=TextOptions(encoding="ascii")).read_batches())
    )


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-32-le", "cp1252", "shift_jis"]
)
def test_the_first_row_is_whole_in_every_encoding(tmp_path, encoding):
    for text in (TEXT, BODY):
        data = text.encode("utf-8" if encoding == "utf-8-sig" else encoding)
        path = write(tmp_path / "log.csv", data)
        columns = () if text == TEXT else ("user_id", "item_id", "timestamp")
        source = open_events(path, text=TextOptions(columns=columns, encoding=encoding))
        assert [b["user_id"].to_pylist() for b in source.read_batches()] == [["u1", "u1", "u2"]]


@pytest.mark.parametrize("block", [8, 13, 4 << 20])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
def test_marks_of_joined_files_are_no_part_of_an_id(tmp_path, monkeypatch, encoding, block):
    monkeypatch.setattr(csv_files, "_BLOCK_BYTES", block)
    parts = [HEADER, "u1,a,10\n", "u1,b,11.5\n", "u2,a\ufeff,3\n"]
    data = b"".join(gzip.compress(("\ufeff" + part).encode(encoding)) for part in parts)
    assert read(write(tmp_path / "log.csv.gz", data)) == [*ROWS[:2], ("u2", "a\ufeff", 3.0)]


def test_options_of_text_are_refused_where_there_is_none(tmp_path):
    pq.write_table(pa.table({"user_id": [1], "item_id": [1], "timestamp": [1]}), tmp_path / "l.pq")
    for spec in (str(tmp_path / "l.pq"), "synthetic:users=9", "tfds:mnist", "mind:x.tsv"):
        with pytest.raises(InputError, match="--separator is for text files"):
            open_events(spec, text=TextOptions(separator=";"))


def test_nul_bytes_and_a_last_line_cut_off(tmp_path):
    path = write(tmp_path / "log.csv", TEXT + "\0" * 5000)
    assert "Data row 4" in error_of(read, path)
    assert "1 field instead of 3" in error_of(read, path)
    path = write(tmp_path / "log.csv", TEXT + "u3,a")
    assert "2 fields instead of 3" in error_of(read, path)
    path = write(tmp_path / "log.csv", TEXT + 'u3,"a')
    assert "does not end" in error_of(read, path)


def test_repeated_columns_matter_only_when_they_are_read(tmp_path):
    path = write(tmp_path / "log.csv", "user_id,x,item_id,x,timestamp\nu1,1,a,2,10\n")
    assert read(path) == [("u1", "a", 10.0)]


def test_recbole_types_are_no_part_of_the_names(tmp_path):
    text = "user_id:token\titem_id:token\ttimestamp:float\nu1\ta\t10\n"
    assert read(write(tmp_path / "log.inter", text)) == [("u1", "a", 10.0)]
    for field in ("user_id", "item_id", "timestamp"):
        path = write(
            tmp_path / "seq.inter", re.sub(f"{field}:(token|float)", rf"{field}:\1_seq", text)
        )
        assert f"the column {field!r} is a sequence" in error_of(read, path)
    text = "user:id\titem_id\ttimestamp\nu1\ta\t10\n"
    assert "'user:id'" in error_of(read, write(tmp_path / "log.inter", text))
