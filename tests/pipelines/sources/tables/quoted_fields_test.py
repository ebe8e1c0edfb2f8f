"""Quoted fields over several lines: rows are never lost in them."""

import csv
import io

import numpy as np
import pytest

from pipelines.ingestion.open_log import open_events
from pipelines.sources.events import EventColumns
from pipelines.sources.items import read_items
from pipelines.sources.tables import csv_files, quoted_fields
from pipelines.sources.tables.text_format import TextOptions
from recall.errors import InputError

HEADER = "user_id,item_id,timestamp,query\n"


def write(path, text):
    path.write_text(text, newline="")
    return str(path)


def rows_of(source, max_bad_rows=0):
    batches = list(source.read_batches(max_bad_rows))
    return [(r["user_id"], r["item_id"], r["row"]) for b in batches for r in b.to_pylist()]


def log_with(queries, end="\n"):
    """One row per query: user u<row>, item i<row>."""
    lines = [f"u{n},i{n},{1700000000 + n},{query}" for n, query in enumerate(queries)]
    return HEADER + end.join(lines) + end


def error_of(path, text=TextOptions()):  # noqa: B008
    with pytest.raises(InputError) as info:
        rows_of(open_events(path, text=text))
    assert "\n" not in str(info.value)
    return str(info.value)


def numbers(rows):
    return [row for _, _, row in rows]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_stray_quote_stops_the_job_or_costs_one_row(tmp_path, end):
    queries = ["x"] * 36
    queries[4] = queries[29] = '"red shoes'
    path = write(tmp_path / "log.csv", log_with(queries, end))
    message = error_of(path)
    for part in (path, "Data row 5 of", "red shoes", "quoted field opens", "--quoting=false"):
        assert part in message
    source = open_events(path)
    assert numbers(rows_of(source, 2)) == [n for n in range(36) if n not in (4, 29)]
    assert source.bad_rows.total == 2
    with pytest.raises(InputError, match="More than 1 bad rows"):
        rows_of(open_events(path), 1)
    unquoted = open_events(path, text=TextOptions(quoting=False))
    assert numbers(rows_of(unquoted)) == list(range(36))


@pytest.mark.parametrize("closing", ['5 in"', '"ok"', '"a ""b"""', '2" x 4"'])
def test_rows_are_found_whatever_ends_the_field(tmp_path, closing):
    queries = ["x", '"red', "x", "x", closing, "x"]
    path = write(tmp_path / "log.csv", log_with(queries))
    assert "Data row 2 of" in error_of(path)
    assert numbers(rows_of(open_events(path), 1)) == [0, 2, 3, 4, 5]


@pytest.mark.parametrize("opening", ['"red, shoes', '"red', '", ,'])
@pytest.mark.parametrize("closing", ['blue"', 'blue, white"'])
def test_a_stray_quote_before_text_with_separators(tmp_path, opening, closing):
    queries = ["x", opening, "x", closing, "x"]
    for place in (0, 3):  # the text last, and first
        rows = [[f"{n}", f"i{n}", f"{1700000000 + n}"] for n in range(5)]
        for row, query in zip(rows, queries, strict=True):
            row.insert(3 - place, query)
        names = ["user_id", "item_id", "timestamp"]
        names.insert(3 - place, "query")
        text = "\n".join(",".join(row) for row in [names, *rows]) + "\n"
        path = write(tmp_path / "log.csv", text)
        assert "Data row 2 of" in error_of(path)
        source = open_events(path)
        read = numbers(rows_of(source, 3))
        assert {0, 2, 4} <= set(read)
        assert len(read) + source.bad_rows.total == 5
    # The next row closes it, so no whole row lies between.
    path = write(tmp_path / "log.csv", log_with(["x", opening, closing, "x"]))
    assert "Data row 2 of" in error_of(path)


def test_in_the_first_column_and_in_the_row_before_the_quote_that_ends_it(tmp_path):
    text = HEADER + '"u0,i0,17,x\nu1",i1,18,x\nu2,i2,19,"\nu3,i3,20,5"\n'
    path = write(tmp_path / "log.csv", text)
    assert "Data row 1 of" in error_of(path)
    assert rows_of(open_events(path), 2) == [('u1"', "i1", 1), ("u3", "i3", 3)]


def test_a_quote_that_never_ends_is_read_in_bounded_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(quoted_fields, "_MAX_FIELD_BYTES", 4096)
    monkeypatch.setattr(csv_files, "_BLOCK_BYTES", 1024)
    queries = ["x"] * 2000
    queries[700] = '"red'
    path = write(tmp_path / "log.csv", log_with(queries))
    assert "Data row 701 of" in error_of(path)
    assert numbers(rows_of(open_events(path), 1)) == [n for n in range(2000) if n != 700]


@pytest.mark.parametrize("block", [64, 1000, 4 << 20])
def test_line_breaks_in_fields_that_are_meant(tmp_path, monkeypatch, block):
    monkeypatch.setattr(csv_files, "_BLOCK_BYTES", block)
    texts = [
        "two\nlines",
        'a "quoted"\nword',
        "one, two\nthree",
        "\n",
        "I bought this, it was great, really, and I would\nbuy, it, again, now and ever\n",
        'says 5" wide\n\n, or so',
        "",
        "plain",
        "C:\\dir\\",
    ]
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(HEADER.strip().split(","))
    for number, text in enumerate(texts * 20):
        writer.writerow([f"u{number}", f"i{number}", 1700000000 + number, text])
    path = write(tmp_path / "log.csv", out.getvalue())
    assert numbers(rows_of(open_events(path))) == list(range(20 * len(texts)))


def test_titles_with_line_breaks_and_a_user_who_vouches_for_the_quotes(tmp_path):
    text = 'item_id,title,category\na,"Two\nlines",x\nb,"One, \nb2,c\nb3",y\n'
    path = write(tmp_path / "items.csv", 'item_id,title,category\na,"Two\nlines",x\n')
    assert read_items(path)["title"].to_pylist() == ["Two\nlines"]
    # "b2,c" has as many fields as a row only if the title ends there: it has not.
    path = write(tmp_path / "items.csv", text)
    assert read_items(path)["title"].to_pylist() == ["Two\nlines", "One, \nb2,c\nb3"]
    path = write(tmp_path / "items.csv", 'item_id,category,title\na,x,"A\nb,y,B\nc,z,C"\n')
    with pytest.raises(InputError, match=r"Data row 1 of .*look like rows.*--items_quoting=true"):
        read_items(path)
    trusted = TextOptions(quoting=True, prefix="items_")
    assert read_items(path, options=trusted)["title"].to_pylist() == ["A\nb,y,B\nc,z,C"]


def test_a_bad_record_of_many_lines_counts_its_lines(tmp_path):
    review = '"' + "prose\n" * 24 + 'end",too,many'
    path = write(tmp_path / "log.csv", log_with(["x", review, "x"]))
    with pytest.raises(InputError, match="More than 24 bad rows"):
        rows_of(open_events(path), 24)
    source = open_events(path)
    assert numbers(rows_of(source, 25)) == [0, 2]
    assert source.bad_rows.total == 25


def test_backslashes_before_quotes_as_spark_writes_them(tmp_path):
    queries = ['"a \\"b\\" c"', '"5\\", x"', '"back\\\\slash, y"', "plain", '""']
    path = write(tmp_path / "log.csv", log_with(queries))
    message = error_of(path)
    assert "Data row 1 of" in message
    assert "--escape=\\" in message
    spark = TextOptions(escape="\\")
    assert numbers(rows_of(open_events(path, text=spark))) == [0, 1, 2, 3, 4]
    path = write(tmp_path / "log.csv", log_with(["x", '"5\\", x"']))
    assert "--escape=\\" in error_of(path)
    items = 'item_id,title,category\na,"say \\"hi\\", you",x\n'
    table = read_items(write(tmp_path / "i.csv", items), options=TextOptions(escape="\\"))
    assert table["title"].to_pylist() == ['say "hi", you']


def test_a_quote_is_an_ordinary_character_between_tabs(tmp_path):
    text = log_with(['"red', "x", 'red"', '"', "x"]).replace(",", "\t")
    assert numbers(rows_of(open_events(write(tmp_path / "log.tsv", text)))) == [0, 1, 2, 3, 4]
    items = 'item_id\tcategory\ttitle\na\tx\tA\nb\ty\t"Broken\nc\tx\tC\nd\ty\t"Broken\n'
    table = read_items(write(tmp_path / "items.tsv", items))
    assert table["title"].to_pylist() == ["A", '"Broken', "C", '"Broken']
    assert table["categories"].to_pylist() == [["x"], ["y"], ["x"], ["y"]]
    quoted = '"item_id"\t"category"\t"title"\n"a"\t"x"\t"A\tB"\n'
    assert read_items(write(tmp_path / "q.tsv", quoted))["title"].to_pylist() == ["A\tB"]


@pytest.mark.parametrize("seed", range(8))
def test_every_line_is_read_or_counted(tmp_path, monkeypatch, seed):
    """Stray quotes anywhere: rows read and rows lost add up to the lines of the file."""
    rng = np.random.default_rng(seed)
    monkeypatch.setattr(csv_files, "_BLOCK_BYTES", int(rng.choice([64, 300, 5000])))
    kinds = [
        "x",
        "red shoes",
        '"ok"',
        '"a, b"',
        '""',
        '"say ""hi"""',
        '5" wide',
        'wide 5"',
        '"',
        '"red',
        '"red, a',
    ]
    chances = np.array([30, 10, 5, 5, 5, 5, 2, 2, 1, 1, 1]) / 67
    for _ in range(20):
        queries = rng.choice(kinds, size=60, p=chances)
        lines = [f"{n % 7},{n % 5},{1700000000 + n},{query}" for n, query in enumerate(queries)]
        if rng.random() < 0.5:  # the text in the middle
            lines = [
                ",".join([*line.split(",", 3)[:1], line.split(",", 3)[3], *line.split(",", 3)[1:3]])
                for line in lines
            ]
        header = "a,b,c,d\n"
        path = write(tmp_path / "log.csv", header + "\n".join(lines) + "\n")
        columns = EventColumns("a", "a", "none")
        source = open_events(path, columns)
        rows = sum(batch.num_rows for batch in source.read_batches(1000))
        assert rows + source.bad_rows.total == 60, path
        num_strays = sum(query in ('"', '"red', '"red, a') for query in queries)
        assert source.bad_rows.total <= num_strays
        assert bool(source.bad_rows.total) == bool(num_strays)


@pytest.mark.parametrize("trusted", [None, True])
@pytest.mark.parametrize(
    ("query", "is_bad"), [('"4"x', True), ('"5" monitor', True), ('"a","b"', True), ('"a" ', False)]
)
def test_text_after_the_quote_that_closes_a_field(tmp_path, query, is_bad, trusted):
    last = f"{query}\nu2,i2,1700000002,z"
    path = write(tmp_path / "log.csv", log_with(["x", "y"]) + f"u9,i9,1700000009,{last}\n")
    source = open_events(path, text=TextOptions(quoting=trusted))
    assert numbers(rows_of(source, 1)) == [0, 1, *([] if is_bad else [2]), 3]
    if query == '"4"x':
        message = error_of(path, TextOptions(quoting=trusted))
        assert "Data row 3 of" in message
        assert "text stands after the quote that closes a field" in message


@pytest.mark.parametrize(
    "ids", [["tt11", "tt12", "tt345"], ["B00X", "B01Y7", "B9Z"], ["alien", "heat", "up"]]
)
def test_titles_with_commas_between_text_ids_and_a_stray_quote(tmp_path, ids):
    titles = ['"Alien, the eighth passenger', "Heat, or so", 'Up, and away"']
    rows = [f"{a},{b},Some Kind\n" for a, b in zip(ids, titles, strict=True)]
    path = write(tmp_path / "items.csv", "item_id,title,category\n" + "".join(rows))
    with pytest.raises(InputError, match="holds lines that look like rows") as caught:
        read_items(path)
    assert "--items_quoting=false" in str(caught.value) or "--quoting=false" in str(caught.value)
    assert "quoting=true" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "Alien, a film, about\nHere, on earth, too",
        "A list, of, words\nword, and, a word, too\n",
        "Seen in 1979, at last, by us\n1980, the sequel, follows",
    ],
)
def test_prose_with_commas_beside_text_ids_is_a_field(tmp_path, text):
    path = write(tmp_path / "items.csv", f'item_id,title,category\ntt1,"{text}",x y\ntt2,b,c\n')
    assert read_items(path)["title"].to_pylist() == [text, "b"]
